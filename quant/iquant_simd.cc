// Vector search of the types with a grid: a block per lane for rounding and for the sums, a near
// point per lane for the choice among these.
//
// The error of a near point is a sum over its weights of what one level of that weight costs; so
// the cost of all levels of a weight is one vector, in which the points look theirs up. Sums are
// made in the order of iquant_ref.cc. Where registers hold fewer than eight floats, the scalar
// choice is taken.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/iquant_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "quant/codecs.h"
#include "quant/iquant_ref.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 8>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
constexpr size_t kLanes = hn::MaxLanes(DF());

// NearestInt limited to 0..top; of a NaN, some value in this range.
HWY_INLINE VI RoundLevel(VF value, int top) {
  const DI di;
  const VI bits = hn::BitCast(di, hn::Add(value, hn::Set(DF(), 12582912.f)));
  const VI nearest = hn::Sub(hn::And(bits, hn::Set(di, 0x007FFFFF)), hn::Set(di, 0x00400000));
  return hn::Min(hn::Max(nearest, hn::Zero(di)), hn::Set(di, top));
}

template <int kBits, size_t kGroup>
HWY_INLINE uint16_t BestNearLanes(const GridBlock& block, size_t group, float scale,
                                  uint32_t code) {
  if constexpr (kLanes < kNearRun) {
    return BestNear(block, group, scale, code);
  } else {
    const DF df;
    const DI di;
    alignas(32) static constexpr float kTwoBits[8] = {1, 3, 5, 7, 1, 3, 5, 7};
    alignas(32) static constexpr float kThreeBits[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    const VF values = hn::Mul(hn::Set(df, scale), hn::Load(df, kBits == 2 ? kTwoBits : kThreeBits));
    VF costs[kGroup];
    for (size_t k = 0; k < kGroup; ++k) {
      const VF diff = hn::Sub(values, hn::Set(df, block.x[group * kGroup + k]));
      costs[k] = hn::Mul(hn::Mul(hn::Set(df, block.roots[group * kGroup + k]), diff), diff);
    }
    const auto near = block.grid->Near(code);
    VF best = hn::Set(df, std::numeric_limits<float>::max());
    VI best_at = hn::Zero(di);
    VI at = hn::Iota(di, 0);
    const VI seven = hn::Set(di, 7);
    for (size_t j = 0; j < near.size(); j += kNearRun) {
      const hn::Rebind<uint16_t, DF> du16;
      VI codes = hn::PromoteTo(di, hn::LoadU(du16, near.data() + j));
      VF error = hn::TableLookupLanes(costs[0], hn::IndicesFromVec(df, hn::And(codes, seven)));
      for (size_t k = 1; k < kGroup; ++k) {
        codes = hn::ShiftRight<kBits>(codes);
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
    const VI first = hn::IfThenElse(is_best, best_at, hn::Set(di, 0x7FFFFFFF));
    return near[static_cast<size_t>(hn::GetLane(hn::MinOfLanes(di, first)))];
  }
}

// kLanes blocks, weight i of block j at i * kLanes + j.
struct Lanes {
  HWY_ALIGN float x[kMaxGridBlock * kLanes];
  HWY_ALIGN float weights[kMaxGridBlock * kLanes];
  HWY_ALIGN float inverse[kLanes];
  HWY_ALIGN float scales[kLanes];
  HWY_ALIGN int32_t codes[kMaxGroups * kLanes];
  HWY_ALIGN int32_t on_grid[kLanes];  // bit per group
};

// Rounds all groups and takes them to the grid.
template <int kBits, size_t kGroup>
HWY_INLINE void RoundLanes(const GridBlock* blocks, Lanes& lanes) {
  const DF df;
  const DI di;
  const size_t groups = blocks[0].groups();
  const int top = blocks[0].top_level();
  const VF inverse = hn::Load(df, lanes.inverse);
  const VF half = hn::Set(df, 0.5f);
  const VF one = hn::Set(df, 1.f);
  for (size_t g = 0; g < groups; ++g) {
    VI code = hn::Zero(di);
    for (size_t k = kGroup; k-- > 0;) {
      const VF x = hn::Load(df, lanes.x + (g * kGroup + k) * kLanes);
      const VI level = RoundLevel(hn::Mul(half, hn::Sub(hn::Mul(inverse, x), one)), top);
      code = hn::Or(hn::ShiftLeft<kBits>(code), level);
    }
    hn::Store(code, di, lanes.codes + g * kLanes);
  }
  std::fill_n(lanes.on_grid, kLanes, 0);
  for (size_t g = 0; g < groups; ++g) {
    for (size_t j = 0; j < kLanes; ++j) {
      if (blocks[j].largest == 0) continue;
      int32_t& code = lanes.codes[g * kLanes + j];
      if (blocks[j].grid->Find(static_cast<uint32_t>(code)) >= 0) {
        lanes.on_grid[j] |= 1 << g;
      } else {
        code = BestNearLanes<kBits, kGroup>(blocks[j], g, lanes.scales[j],
                                            static_cast<uint32_t>(code));
      }
    }
  }
}

template <int kBits, size_t kGroup>
HWY_INLINE void SumLanes(size_t groups, const Lanes& lanes, VF& xq, VF& qq) {
  const DF df;
  const DI di;
  const VI mask = hn::Set(di, (1 << kBits) - 1);
  xq = qq = hn::Zero(df);
  for (size_t g = 0; g < groups; ++g) {
    VI code = hn::Load(di, lanes.codes + g * kLanes);
    for (size_t k = 0; k < kGroup; ++k) {
      const size_t i = (g * kGroup + k) * kLanes;
      const VI level = hn::And(code, mask);
      const VF q = hn::ConvertTo(df, hn::Add(hn::Add(level, level), hn::Set(di, 1)));
      const VF w = hn::Load(df, lanes.weights + i);
      xq = hn::Add(xq, hn::Mul(hn::Mul(w, hn::Load(df, lanes.x + i)), q));
      qq = hn::Add(qq, hn::Mul(hn::Mul(w, q), q));
      code = hn::ShiftRight<kBits>(code);
    }
  }
}

void LoadLanes(const GridBlock* blocks, Lanes& lanes) {
  for (size_t j = 0; j < kLanes; ++j) {
    for (size_t i = 0; i < blocks[j].n; ++i) {
      lanes.x[i * kLanes + j] = blocks[j].x[i];
      lanes.weights[i * kLanes + j] = blocks[j].weights[i];
    }
  }
}

template <int kBits, size_t kGroup>
void SearchLanes(const GridBlock* blocks, GridFit* fits) {
  const DF df;
  const DI di;
  const GridSearch& search = *blocks[0].search;
  const size_t groups = blocks[0].groups();
  Lanes lanes;
  LoadLanes(blocks, lanes);
  VF best = hn::Zero(df);
  HWY_ALIGN float best_scale[kLanes];
  HWY_ALIGN int32_t best_codes[kMaxGroups * kLanes] = {};
  HWY_ALIGN int32_t best_on_grid[kLanes];
  std::fill_n(best_on_grid, kLanes, search.refit_all ? 0 : -1);
  for (size_t j = 0; j < kLanes; ++j) best_scale[j] = blocks[j].first_scale;
  for (int step = -search.steps; step <= search.steps; ++step) {
    for (size_t j = 0; j < kLanes; ++j) {
      lanes.inverse[j] = blocks[j].largest == 0 ? 0 : blocks[j].InverseScale(step);
      lanes.scales[j] = 1 / lanes.inverse[j];
    }
    RoundLanes<kBits, kGroup>(blocks, lanes);
    VF xq;
    VF qq;
    SumLanes<kBits, kGroup>(groups, lanes, xq, qq);
    const auto better =
        hn::And(hn::Gt(qq, hn::Zero(df)), hn::Gt(hn::Mul(xq, xq), hn::Mul(best, qq)));
    if (hn::AllFalse(df, better)) continue;
    const VF scale = hn::Div(xq, qq);
    best = hn::IfThenElse(better, hn::Mul(scale, xq), best);
    hn::Store(hn::IfThenElse(better, scale, hn::Load(df, best_scale)), df, best_scale);
    const auto better_int = hn::RebindMask(di, better);
    hn::Store(hn::IfThenElse(better_int, hn::Load(di, lanes.on_grid), hn::Load(di, best_on_grid)),
              di, best_on_grid);
    for (size_t g = 0; g < groups * kLanes; g += kLanes) {
      hn::Store(
          hn::IfThenElse(better_int, hn::Load(di, lanes.codes + g), hn::Load(di, best_codes + g)),
          di, best_codes + g);
    }
  }
  for (size_t j = 0; j < kLanes; ++j) {
    fits[j].scale = best_scale[j];
    for (size_t g = 0; g < groups; ++g) {
      fits[j].codes[g] = static_cast<uint16_t>(best_codes[g * kLanes + j]);
      fits[j].on_grid[g] = (best_on_grid[j] >> g & 1) != 0;
    }
  }
}

void FindScales(const GridBlock* blocks, size_t count, GridFit* fits) {
  for (size_t b = 0; b < count; b += kLanes) {
    if (blocks[0].group == 8) {
      SearchLanes<2, 8>(blocks + b, fits + b);
    } else {
      SearchLanes<3, 4>(blocks + b, fits + b);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(FindScales);

void FindScalesBest(const GridBlock* blocks, size_t count, GridFit* fits) {
  HWY_DYNAMIC_DISPATCH(FindScales)(blocks, count, fits);
}

template <const GridType& kLayout>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  DequantizeGrid(kLayout, blocks, weights, count);
}

template <const GridSearch& kSearch>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  QuantizeGrid(kSearch, FindScalesBest, weights, blocks, rows, columns, imatrix);
}

template <const GridSearch& kSearch>
void QuantizeReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                       const float* imatrix) noexcept {
  QuantizeGrid(kSearch, FindScalesReference, weights, blocks, rows, columns, imatrix);
}

template <const GridType& kLayout, const GridSearch& kSearch>
constexpr Codec GridCodec(TensorType type, bool needs_imatrix) {
  return {type,
          needs_imatrix,
          Quantize<kSearch>,
          Dequantize<kLayout>,
          QuantizeReference<kSearch>,
          Dequantize<kLayout>};
}

}  // namespace

constinit const Codec kIQ2XXSCodec =
    GridCodec<kIQ2XXSLayout, kIQ2XXSSearch>(TensorType::kIQ2_XXS, true);
constinit const Codec kIQ2XSCodec =
    GridCodec<kIQ2XSLayout, kIQ2XSSearch>(TensorType::kIQ2_XS, true);
constinit const Codec kIQ2SCodec = GridCodec<kIQ2SLayout, kIQ2SSearch>(TensorType::kIQ2_S, false);
constinit const Codec kIQ3XXSCodec =
    GridCodec<kIQ3XXSLayout, kIQ3XXSSearch>(TensorType::kIQ3_XXS, false);
constinit const Codec kIQ3SCodec = GridCodec<kIQ3SLayout, kIQ3SSearch>(TensorType::kIQ3_S, false);

}  // namespace quern::quant
#endif  // HWY_ONCE
