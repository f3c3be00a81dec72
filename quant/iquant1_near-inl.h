// The vector choice of grid points for the levels of IQ1 blocks; a near point is a lane.
//
// The error of a near point is a sum over its weights of what one level of that weight costs; so
// the costs of a weight are one vector, in which the points look theirs up. Most points need no
// look: the nearer ones come first, and after these, what a point with two or three changed levels
// costs at least (BoundNear) is often more than the best so far. A lane is a block for these
// bounds.
//
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT1_NEAR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT1_NEAR_INL_H_
#undef QUERN_QUANT_IQUANT1_NEAR_INL_H_
#else
#define QUERN_QUANT_IQUANT1_NEAR_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <limits>

#include "quant/iquant1_ref.h"
#include "quant/iquant1_split-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace iq1 {

// Bounds of the error of points at which at least two or three weights have another level than in
// the code, or one weight a level two away.
struct NearBounds {
  HWY_ALIGN float two[kLanes];
  HWY_ALIGN float three[kLanes];
};

// Of the levels of kLanes groups of 8. The bounds err to the safe side by more than rounding can;
// they are -1 where that cannot be said.
HWY_INLINE void BoundNear(const float* x, const float* weights, VF scale, VF shift, VI codes,
                          NearBounds* bounds) {
  const DF df;
  const DI di;
  const VF one = hn::Set(df, 1);
  const VF huge = hn::Set(df, std::numeric_limits<float>::max());
  const VF scaled[] = {hn::Mul(scale, hn::Sub(shift, one)), hn::Mul(scale, shift),
                       hn::Mul(scale, hn::Add(shift, one))};
  VF base = hn::Zero(df);  // all weights at their best levels
  VF least_weight = base;
  VF extra[3] = {huge, huge, huge};  // the least that changes add to it, in order
  VF far = huge;                     // the least that a change by two levels adds
  for (size_t i = 0; i < 8; ++i) {
    const VF xi = LoadLanes(x, i);
    const VF weight = LoadLanes(weights, i);
    least_weight = hn::Min(least_weight, weight);
    VF cost[3];
    for (size_t l = 0; l < 3; ++l) {
      const VF diff = hn::Sub(scaled[l], xi);
      cost[l] = hn::Mul(hn::Mul(weight, diff), diff);
    }
    const VI level = hn::And(codes, hn::Set(di, 3));
    codes = hn::ShiftRight<2>(codes);
    const MF is_zero = hn::RebindMask(df, hn::Eq(level, hn::Zero(di)));
    const MF is_two = hn::RebindMask(df, hn::Eq(level, hn::Set(di, 2)));
    const VF outer = hn::Min(cost[0], cost[2]);
    const VF least = hn::Min(outer, cost[1]);
    const VF other = hn::IfThenElse(is_zero, hn::Min(cost[1], cost[2]),
                                    hn::IfThenElse(is_two, hn::Min(cost[0], cost[1]), outer));
    const VF opposite = hn::IfThenElse(is_zero, cost[2], hn::IfThenElse(is_two, cost[0], huge));
    base = hn::Add(base, least);
    far = hn::Min(far, hn::Sub(opposite, least));
    VF more = hn::Sub(other, least);
    for (VF& e : extra) {
      const VF smaller = hn::Min(e, more);
      more = hn::Max(e, more);
      e = smaller;
    }
  }
  const VF two = hn::Add(extra[0], extra[1]);
  const VF safe = hn::Set(df, 1 - 0x1p-18f);
  const auto store = [&](VF added, float* to) HWY_ATTR {
    const VF bound = hn::Mul(hn::Add(base, hn::Min(added, far)), safe);
    const MF valid = hn::And(hn::Ge(least_weight, hn::Zero(df)), hn::Lt(bound, hn::Set(df, 1e38f)));
    hn::Store(hn::IfThenElse(valid, bound, hn::Set(df, -1)), df, to);
  };
  store(two, bounds->two);
  store(hn::Add(two, extra[2]), bounds->three);
}

// As the reference. Points are in the order of their distance from the code, so that no later one
// has fewer changes than the next, unless one of them is by two levels.
HWY_INLINE uint16_t BestNear(const Grid& grid, const float* x, const float* weights,
                             const float* values, float scale, uint32_t code, float two_changes,
                             float three_changes) {
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(two_changes);
  static_cast<void>(three_changes);
  return BestNearIQ1(grid, x, weights, values, scale, code);
#else
  const DF df;
  const DI di;
  const hn::Rebind<uint16_t, DF> du16;
  const auto near = grid.Near(code);
  VF costs[8];
  const VF scaled = hn::Mul(hn::Set(df, scale), hn::LoadDup128(df, values));
  for (size_t k = 0; k < 8; ++k) {
    const VF diff = hn::Sub(scaled, hn::Set(df, x[k]));
    costs[k] = hn::Mul(hn::Mul(hn::Set(df, weights[k]), diff), diff);
  }
  VF best = hn::Set(df, std::numeric_limits<float>::max());
  VI best_at = hn::Zero(di);
  VI at = hn::Iota(di, 0);
  const VI three = hn::Set(di, 3);
  const auto cost = [&](size_t k, VI codes) {
    return hn::TableLookupLanes(costs[k], hn::IndicesFromVec(df, hn::And(codes, three)));
  };
  for (size_t j = 0;;) {
    VI codes = hn::PromoteTo(di, hn::LoadU(du16, near.data() + j));
    VF error = cost(0, codes);
    for (size_t k = 1; k < 8; ++k) {
      codes = hn::ShiftRight<2>(codes);
      error = hn::Add(error, cost(k, codes));
    }
    const MF better = hn::Lt(error, best);
    best = hn::IfThenElse(better, error, best);
    best_at = hn::IfThenElse(hn::RebindMask(di, better), at, best_at);
    at = hn::Add(at, hn::Set(di, static_cast<int32_t>(kLanes)));
    j += kLanes;
    if (j >= near.size()) break;
    uint32_t changes = code ^ near[j];  // two bits for each weight, then one
    changes = (changes | changes >> 1) & 0x5555;
    const uint32_t without_one = changes & (changes - 1);
    const uint32_t without_two = without_one & (without_one - 1);
    const float bound = without_two ? three_changes : without_one ? two_changes : -1.0f;
    if (!hn::AllFalse(df, hn::Le(best, hn::Set(df, bound)))) break;
  }
  // The first of the best.
  const auto is_best = hn::RebindMask(di, hn::Eq(best, hn::MinOfLanes(df, best)));
  const VI first = hn::IfThenElse(is_best, best_at, hn::Set(di, 0x7FFFFFFF));
  return near[static_cast<size_t>(hn::GetLane(hn::MinOfLanes(di, first)))];
#endif
}

// Groups of 8 in lanes that are not on the grid.
struct OffGrid {
  uint8_t lane[4 * kLanes];
  uint8_t group[4 * kLanes];
  size_t count = 0;

  // Without a branch, which half of the time would be mispredicted.
  HWY_INLINE void AddIf(bool off, size_t j, size_t k) {
    lane[count] = static_cast<uint8_t>(j);
    group[count] = static_cast<uint8_t>(k);
    count += off;
  }
};

// kLanes blocks: transposed, and what was found for them.
template <size_t kN>
struct Blocks {
  HWY_ALIGN float x[kN * kLanes];
  HWY_ALIGN float weights[kN * kLanes];
  HWY_ALIGN uint64_t codes[kLanes];  // 2 bits per weight, before the grid
  HWY_ALIGN int32_t number[kLanes];
  HWY_ALIGN float scales[kLanes];       // 0 where nothing was found
  HWY_ALIGN float refit[kLanes];        // 1 where a point is not what the split led to
  HWY_ALIGN int32_t shifts[2][kLanes];  // of each half: 0 or 1
  HWY_ALIGN int32_t points[kN / 8][kLanes];
  NearBounds bounds[kN / 8];
  bool found[kLanes];
};

// What all levels are shifted by.
HWY_INLINE VF Shift(const int32_t* lowered) {
  const DI di;
  const MF raised = hn::RebindMask(DF(), hn::Eq(hn::Load(di, lowered), hn::Zero(di)));
  return hn::IfThenElse(raised, hn::Set(DF(), kIQ1Delta), hn::Set(DF(), -kIQ1Delta));
}

// Takes the splits to the grid. x and weights: of the first block, not transposed.
template <class Sums>
HWY_INLINE void ToGrid(const Grid& grid, const float* x, const float* weights,
                       Blocks<Sums::kN>* blocks) {
  constexpr size_t kN = Sums::kN;
  OffGrid off;
  for (size_t j = 0; j < kLanes; ++j) {
    uint64_t code = blocks->found[j] ? blocks->codes[j] : 0;
    int lowered = blocks->found[j] ? Sums::kLowered[blocks->number[j] & 3] : 0;
    if (blocks->scales[j] < 0) {
      blocks->scales[j] = -blocks->scales[j];
      code = 0xAAAAAAAAAAAAAAAAu - code;  // level 2 for 0
      lowered ^= kBothLowered;
    }
    blocks->shifts[0][j] = lowered & 1;
    blocks->shifts[1][j] = lowered >> 1;
    blocks->refit[j] = 0;
    for (size_t k = 0; k < kN / 8; ++k) {
      const uint32_t point = code >> (16 * k) & 0xFFFF;
      blocks->points[k][j] = static_cast<int32_t>(point);
      off.AddIf(grid.Find(point) < 0, j, k);
      hwy::Prefetch(grid.Near(point).data());
    }
  }
  for (size_t k = 0; k < kN / 8; ++k) {
    BoundNear(blocks->x + 8 * k * kLanes, blocks->weights + 8 * k * kLanes,
              hn::Load(DF(), blocks->scales), Shift(blocks->shifts[16 * k / kN]),
              hn::Load(DI(), blocks->points[k]), &blocks->bounds[k]);
  }
  for (size_t i = 0; i < off.count; ++i) {
    const size_t j = off.lane[i];
    const size_t k = off.group[i];
    const size_t first = j * kN + 8 * k;
    int32_t& point = blocks->points[k][j];
    point = BestNear(grid, x + first, weights + first, kIQ1Values[blocks->shifts[16 * k / kN][j]],
                     blocks->scales[j], static_cast<uint32_t>(point), blocks->bounds[k].two[j],
                     blocks->bounds[k].three[j]);
    blocks->refit[j] = 1;
  }
}

}  // namespace iq1
}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
