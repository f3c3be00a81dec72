// The steps of the search of the types with a grid that see one scale per block: the first fit and
// the second rounding, a block per lane; and the choice among near points for one scale, a point
// per lane. Sums are made in the order of iquant_ref.cc. Per-target include file of Highway: no
// ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_LANES_INL_H_
#undef QUERN_QUANT_IQUANT_LANES_INL_H_
#else
#define QUERN_QUANT_IQUANT_LANES_INL_H_
#endif

#include "quant/iquant_search-inl.h"
#include "quant/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// kGridLanes blocks, weight i of block j at i * kGridLanes + j.
struct BlockLanes {
  HWY_ALIGN float x[kMaxGridBlock * kGridLanes];
  HWY_ALIGN float weights[kMaxGridBlock * kGridLanes];
};

inline void LoadBlocks(const GridBlock* blocks, BlockLanes& lanes) {
  const float* x[kGridLanes];
  const float* weights[kGridLanes];
  for (size_t j = 0; j < kGridLanes; ++j) {
    x[j] = blocks[j].x;
    weights[j] = blocks[j].weights;
  }
  Transpose(x, kGridLanes, blocks[0].n, lanes.x);
  Transpose(weights, kGridLanes, blocks[0].n, lanes.weights);
}

// FitPositiveScale of blocks of 32, but for the levels. These are stored as bytes, so that those of
// a negative weight wrap around; a lane where one may fall below -256, or a value leaves the range
// of rounding, is reported in `exact` as 0.
struct FirstFit {
  GridFloats top;
  GridFloats max;
  GridFloats lx;
  GridFloats l2;
  GridFloats exact;  // all bits set, or none
  HWY_ALIGN float q[kMaxGridBlock * kGridLanes];

  static HWY_INLINE GridFloats AsByte(GridFloats level) {
    const GridFloat df;
    const auto negative = hn::Lt(level, hn::Zero(df));
    return hn::IfThenElse(negative, hn::Add(level, hn::Set(df, 256.f)), level);
  }
};

HWY_INLINE GridFloats FirstError(const BlockLanes& lanes, const FirstFit& fit, GridFloats inverse,
                                 bool as_bytes) {
  const GridFloat df;
  const GridFloats scale = hn::Div(hn::Set(df, 1.f), inverse);
  GridFloats error = hn::Zero(df);
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    GridFloats level = hn::Round(hn::Mul(inverse, x));
    level = as_bytes ? FirstFit::AsByte(level) : hn::Min(level, fit.top);
    const GridFloats diff = hn::Sub(x, hn::Mul(scale, level));
    error = hn::Add(error, hn::Mul(hn::Mul(hn::Load(df, lanes.weights + i), diff), diff));
  }
  return error;
}

// The best of nine inverse scales; its levels and sums.
HWY_INLINE void TryFirstScales(const BlockLanes& lanes, FirstFit& fit) {
  const GridFloat df;
  GridFloats best_inverse = hn::Div(fit.top, fit.max);
  GridFloats best_error = FirstError(lanes, fit, best_inverse, true);
  for (int k = -4; k <= 4; ++k) {
    if (k == 0) continue;
    const GridFloats shift = hn::Set(df, 0.1f * static_cast<float>(k));
    const GridFloats inverse = hn::Div(hn::Add(shift, fit.top), fit.max);
    const GridFloats error = FirstError(lanes, fit, inverse, false);
    const auto better = hn::Lt(error, best_error);
    best_error = hn::IfThenElse(better, error, best_error);
    best_inverse = hn::IfThenElse(better, inverse, best_inverse);
  }
  fit.lx = fit.l2 = hn::Zero(df);
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    const GridFloats w = hn::Load(df, lanes.weights + i);
    const GridFloats level = hn::Min(hn::Round(hn::Mul(best_inverse, x)), fit.top);
    hn::Store(FirstFit::AsByte(level), df, fit.q + i);
    fit.lx = hn::Add(fit.lx, hn::Mul(hn::Mul(w, x), level));
    fit.l2 = hn::Add(fit.l2, hn::Mul(hn::Mul(w, level), level));
  }
}

// A round of coordinate descent; whether any level moved. Few do, and while none does the sums stay
// and steps overlap: hence the way out before they are set.
HWY_INLINE bool DescendFirstFit(const BlockLanes& lanes, FirstFit& fit) {
  const GridFloat df;
  const GridFloats zero = hn::Zero(df);
  bool any = false;
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    const GridFloats w = hn::Load(df, lanes.weights + i);
    const GridFloats old = hn::Load(df, fit.q + i);
    const GridFloats wx = hn::Mul(w, x);
    const GridFloats rest_lx = hn::Sub(fit.lx, hn::Mul(wx, old));
    const GridFloats rest_l2 = hn::Sub(fit.l2, hn::Mul(hn::Mul(w, old), old));
    const GridFloats target = hn::Div(hn::Mul(x, rest_l2), rest_lx);
    const auto solvable = hn::And(hn::Gt(rest_lx, zero), hn::Gt(rest_l2, zero));
    const GridFloats level = hn::Min(hn::Round(target), fit.top);
    const auto in_range =
        hn::And(hn::Gt(target, hn::Set(df, -255.f)), hn::Lt(target, hn::Set(df, 4194303.f)));
    fit.exact = hn::And(fit.exact, hn::VecFromMask(df, hn::Or(in_range, hn::Not(solvable))));
    const auto moves = hn::And(solvable, hn::Ne(level, old));
    if (hn::AllFalse(df, moves)) continue;
    const GridFloats lx = hn::Add(rest_lx, hn::Mul(wx, level));
    const GridFloats l2 = hn::Add(rest_l2, hn::Mul(hn::Mul(w, level), level));
    const auto gains =
        hn::Gt(hn::Mul(hn::Mul(lx, lx), fit.l2), hn::Mul(hn::Mul(fit.lx, fit.lx), l2));
    const auto accept = hn::And(moves, gains);
    if (hn::AllFalse(df, accept)) continue;
    any = true;
    hn::Store(hn::IfThenElse(accept, FirstFit::AsByte(level), old), df, fit.q + i);
    fit.lx = hn::IfThenElse(accept, lx, fit.lx);
    fit.l2 = hn::IfThenElse(accept, l2, fit.l2);
  }
  return any;
}

// FitFirst.
inline void FitFirstLanes(const BlockLanes& lanes, GridBlock* blocks) {
  const GridFloat df;
  FirstFit fit;
  fit.top = hn::Set(df, static_cast<float>(blocks[0].top_level() + 2));
  GridFloats max = hn::Zero(df);
  GridFloats min = hn::Zero(df);
  auto finite = hn::Eq(max, max);
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    max = hn::Max(max, x);
    min = hn::Min(min, x);
    finite = hn::And(finite, hn::Le(hn::Abs(x), hn::Set(df, std::numeric_limits<float>::max())));
  }
  const auto wraps_once = hn::Gt(hn::Mul(min, hn::Set(df, 5.f)), hn::Mul(max, hn::Set(df, -255.f)));
  fit.exact = hn::VecFromMask(df, hn::And(finite, wraps_once));
  fit.max = max;
  TryFirstScales(lanes, fit);
  for (int round = 0; round < 5 && DescendFirstFit(lanes, fit); ++round) {
  }
  HWY_ALIGN float scales[kGridLanes];
  HWY_ALIGN int32_t exact[kGridLanes];
  hn::Store(hn::IfThenElseZero(hn::Gt(fit.l2, hn::Zero(df)), hn::Div(fit.lx, fit.l2)), df, scales);
  hn::Store(hn::BitCast(GridInt(), fit.exact), GridInt(), exact);
  for (size_t j = 0; j < kGridLanes; ++j) {
    if (blocks[j].largest == 0) continue;
    if (exact[j] != 0 && blocks[j].largest > 1e-15f) {
      SetFirstFit(scales[j], &blocks[j]);
    } else {
      FitFirst(&blocks[j]);
    }
  }
}

// BestNear.
template <class Shape>
HWY_INLINE uint16_t BestNearPoints(const GridBlock& block, size_t group, float scale,
                                   uint32_t code) {
  if constexpr (kGridLanes < kNearRun) {
    return BestNear(block, group, scale, code);
  } else {
    const GridFloat df;
    const GridInt di;
    alignas(32) static constexpr float kTwoBits[8] = {1, 3, 5, 7, 1, 3, 5, 7};
    alignas(32) static constexpr float kThreeBits[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    const GridFloats values =
        hn::Mul(hn::Set(df, scale), hn::Load(df, Shape::kBits == 2 ? kTwoBits : kThreeBits));
    GridFloats costs[Shape::kGroup];
    for (size_t k = 0; k < Shape::kGroup; ++k) {
      const size_t i = group * Shape::kGroup + k;
      const GridFloats diff = hn::Sub(values, hn::Set(df, block.x[i]));
      costs[k] = hn::Mul(hn::Mul(hn::Set(df, block.roots[i]), diff), diff);
    }
    const auto near = block.grid->Near(code);
    GridFloats best = hn::Set(df, std::numeric_limits<float>::max());
    GridInts best_at = hn::Zero(di);
    GridInts at = hn::Iota(di, 0);
    const GridInts seven = hn::Set(di, 7);
    for (size_t j = 0; j < near.size(); j += kNearRun) {
      const hn::Rebind<uint16_t, GridFloat> du16;
      GridInts codes = hn::PromoteTo(di, hn::LoadU(du16, near.data() + j));
      GridFloats error =
          hn::TableLookupLanes(costs[0], hn::IndicesFromVec(df, hn::And(codes, seven)));
      for (size_t k = 1; k < Shape::kGroup; ++k) {
        codes = hn::ShiftRight<Shape::kBits>(codes);
        error = hn::Add(
            error, hn::TableLookupLanes(costs[k], hn::IndicesFromVec(df, hn::And(codes, seven))));
      }
      const auto better = hn::Lt(error, best);
      best = hn::IfThenElse(better, error, best);
      best_at = hn::IfThenElse(hn::RebindMask(di, better), at, best_at);
      at = hn::Add(at, hn::Set(di, kNearRun));
    }
    // The first of the best.
    const auto is_best = hn::RebindMask(di, hn::Eq(best, hn::MinOfLanes(df, best)));
    const GridInts first = hn::IfThenElse(is_best, best_at, hn::Set(di, 0x7FFFFFFF));
    return near[static_cast<size_t>(hn::GetLane(hn::MinOfLanes(di, first)))];
  }
}

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
    if (!IsRegular(blocks[j]) || !(fits[j].scale > 1e-30f)) {
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
