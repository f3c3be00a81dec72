// The second rounding of the types with a grid, a block per lane. Sums are made in the order of
// iquant_ref.cc. Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_REFIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_REFIT_INL_H_
#undef QUERN_QUANT_IQUANT_REFIT_INL_H_
#else
#define QUERN_QUANT_IQUANT_REFIT_INL_H_
#endif

#include <algorithm>

#include "quant/iquant_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// NearestInt limited to 0..top.
HWY_INLINE GridInts RoundLevel(GridFloats value, int top) {
  const GridInt di;
  const GridInts bits = hn::BitCast(di, hn::Add(value, hn::Set(GridFloat(), 0x1.8p23f)));
  const GridInts nearest = hn::Sub(hn::And(bits, hn::Set(di, 0x007FFFFF)), hn::Set(di, 0x00400000));
  return hn::Min(hn::Max(nearest, hn::Zero(di)), hn::Set(di, top));
}

// Codes of groups, kGridLanes for each.
template <class Shape>
HWY_INLINE void RoundBlocks(const BlockLanes& lanes, size_t groups, const float* scales,
                            int32_t* codes) {
  const GridFloat df;
  const GridInt di;
  const GridFloats half = hn::Set(df, 0.5f);
  const GridFloats one = hn::Set(df, 1.f);
  const GridFloats inverse = hn::Div(one, hn::Load(df, scales));
  for (size_t g = 0; g < groups; ++g) {
    GridInts code = hn::Zero(di);
    for (size_t k = Shape::kGroup; k-- > 0;) {
      const GridFloats x = hn::Load(df, lanes.x + (g * Shape::kGroup + k) * kGridLanes);
      const GridFloats value = hn::Mul(half, hn::Sub(hn::Mul(inverse, x), one));
      code = hn::Or(hn::ShiftLeft<Shape::kBits>(code), RoundLevel(value, Shape::kTop));
    }
    hn::Store(code, di, codes + g * kGridLanes);
  }
}

template <class Shape>
HWY_INLINE void SumBlocks(const BlockLanes& lanes, size_t groups, const int32_t* codes, float* xqs,
                          float* qqs) {
  const GridFloat df;
  const GridInt di;
  const GridInts mask = hn::Set(di, (1 << Shape::kBits) - 1);
  GridFloats xq = hn::Zero(df);
  GridFloats qq = hn::Zero(df);
  for (size_t g = 0; g < groups; ++g) {
    GridInts code = hn::Load(di, codes + g * kGridLanes);
    for (size_t k = 0; k < Shape::kGroup; ++k) {
      const size_t i = (g * Shape::kGroup + k) * kGridLanes;
      const GridInts level = hn::And(code, mask);
      const GridFloats q = hn::ConvertTo(df, hn::Add(hn::Add(level, level), hn::Set(di, 1)));
      const GridFloats w = hn::Load(df, lanes.weights + i);
      xq = hn::Add(xq, hn::Mul(hn::Mul(w, hn::Load(df, lanes.x + i)), q));
      qq = hn::Add(qq, hn::Mul(hn::Mul(w, q), q));
      code = hn::ShiftRight<Shape::kBits>(code);
    }
  }
  hn::Store(xq, df, xqs);
  hn::Store(qq, df, qqs);
}

HWY_INLINE bool OnGrid(const GridFit& fit, size_t groups) {
  return std::all_of(fit.on_grid, fit.on_grid + groups, [](bool on_grid) { return on_grid; });
}

// Refit.
template <class Shape>
void RefitLanes(const BlockLanes& lanes, const GridBlock* blocks, GridFit* fits) {
  const size_t groups = blocks[0].groups();
  const GridSearch& search = *blocks[0].search;
  bool refits[kGridLanes];
  HWY_ALIGN float scales[kGridLanes];
  for (size_t j = 0; j < kGridLanes; ++j) {
    refits[j] = false;
    scales[j] = 1;
    if (blocks[j].largest == 0) continue;
    if (!lanes.regular[j] || !(fits[j].scale > 1e-30f)) {
      Refit(blocks[j], &fits[j]);
    } else if (search.fit_first || !OnGrid(fits[j], groups)) {
      refits[j] = true;
      scales[j] = fits[j].scale;
    }
  }
  HWY_ALIGN int32_t codes[kMaxGroups * kGridLanes];
  RoundBlocks<Shape>(lanes, groups, scales, codes);
  for (size_t j = 0; j < kGridLanes; ++j) {
    if (!refits[j]) continue;
    for (size_t g = 0; g < groups; ++g) {
      int32_t& code = codes[g * kGridLanes + j];
      if (fits[j].on_grid[g] && !search.refit_all) {
        code = fits[j].codes[g];
      } else if (blocks[j].grid->Find(static_cast<uint32_t>(code)) < 0) {
        code = BestNearPoints<Shape>(blocks[j], g, scales[j], static_cast<uint32_t>(code));
      }
    }
  }
  HWY_ALIGN float xq[kGridLanes];
  HWY_ALIGN float qq[kGridLanes];
  SumBlocks<Shape>(lanes, groups, codes, xq, qq);
  for (size_t j = 0; j < kGridLanes; ++j) {
    if (!refits[j]) continue;
    for (size_t g = 0; g < groups; ++g) {
      fits[j].codes[g] = static_cast<uint16_t>(codes[g * kGridLanes + j]);
    }
    if (qq[j] > 0) fits[j].scale = xq[j] / qq[j];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
