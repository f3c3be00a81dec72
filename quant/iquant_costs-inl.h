// The choice among the points near a code for several candidate scales, one per lane. What a level
// of a weight costs is a vector over the candidates, and a point's error a sum of such vectors:
//
//   costs    [weight of the group][level], each a vector: (root * diff) * diff,
//            diff = scale * (2*level + 1) - x
//   a point  costs[0][level 0] + costs[1][level 1] + ...
//
// which are the operations of iquant_ref.cc in their order, whatever the width of vectors.
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_COSTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_COSTS_INL_H_
#undef QUERN_QUANT_IQUANT_COSTS_INL_H_
#else
#define QUERN_QUANT_IQUANT_COSTS_INL_H_
#endif

#include "quant/iquant_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// What levels of each weight of a group cost, for kGridLanes candidates: those in reach of a code.
template <class Shape>
struct LevelCosts {
  // Levels are cut out of codes in units of 2^kUnit, which leaves a factor for the address.
  static constexpr int kUnit = kGridLanes % 4 == 0 ? 2 : 0;
  // Below level 0 and above the top, for 3 bits: levels that are computed but not read.
  static constexpr size_t kMargin = Shape::kBits == 2 ? 0 : kContenderReach;
  static constexpr size_t kRow = (Shape::kLevels + 2 * kMargin) * kGridLanes;
  HWY_ALIGN float costs[Shape::kGroup * kRow];

  HWY_INLINE GridFloats At(size_t k, uint32_t code) const {
    const int shift = Shape::kBits * static_cast<int>(k) - kUnit;
    const uint32_t moved = shift < 0 ? code << -shift : code >> shift;
    const size_t level = moved & static_cast<uint32_t>((Shape::kLevels - 1) << kUnit);
    return hn::Load(GridFloat(),
                    costs + k * kRow + kMargin * kGridLanes + level * (kGridLanes >> kUnit));
  }

  // `values`: scale * (2*level + 1), kRoom for each level. Returns in which candidates no level of
  // the code costs more than those beside it.
  HWY_INLINE auto Set(uint32_t code, const float* values, size_t room, const float* x,
                      const float* roots, bool check) {
    constexpr size_t kWindow = Shape::kBits == 2 ? 3 : 2 * kContenderReach + 1;
    const GridFloat df;
    auto nearest = hn::Eq(hn::Zero(df), hn::Zero(df));
    GridFloats value[kWindow];
    for (size_t i = 0; i < kWindow; ++i) value[i] = hn::LoadU(df, values + i * room);
    for (size_t k = 0; k < Shape::kGroup; ++k) {
      const GridFloats xk = hn::Set(df, x[k]);
      const GridFloats root = hn::Set(df, roots[k]);
      const size_t level = code >> (Shape::kBits * k) & (Shape::kLevels - 1);
      float* to = costs + k * kRow;
      if constexpr (Shape::kBits == 3) {
        to += level * kGridLanes;
        for (size_t i = 0; i < kWindow; ++i) value[i] = hn::LoadU(df, values + (level + i) * room);
      }
      GridFloats around[kWindow];
      for (size_t i = 0; i < kWindow; ++i) {
        const GridFloats diff = hn::Sub(value[i], xk);
        around[i] = hn::Mul(hn::Mul(root, diff), diff);
        hn::Store(around[i], df, to + i * kGridLanes);
      }
      if constexpr (Shape::kBits == 3) {
        nearest = hn::And(nearest, hn::Le(around[2], hn::Min(around[1], around[3])));
      } else if (check) {
        const GridFloats own = hn::Load(df, to + level * kGridLanes);
        nearest = hn::And(nearest, hn::Le(own, hn::Min(hn::Min(around[0], around[1]), around[2])));
      }
    }
    return nearest;
  }
};

// Marks points that rounding did not lead to; outside of the bits of codes.
constexpr int32_t kOffGrid = 1 << 16;

// A point and its error in each lane.
struct Choices {
  GridFloats error;
  GridInts point;
};

// The first of the better.
HWY_INLINE Choices BetterOf(const Choices& first, const Choices& second) {
  const auto later = hn::Lt(second.error, first.error);
  return {hn::IfThenElse(later, second.error, first.error),
          hn::IfThenElse(hn::RebindMask(GridInt(), later), second.point, first.point)};
}

template <class Shape>
HWY_INLINE Choices Choose(const LevelCosts<Shape>& costs, uint32_t point) {
  GridFloats error = costs.At(0, point);
  for (size_t k = 1; k < Shape::kGroup; ++k) error = hn::Add(error, costs.At(k, point));
  return {error, hn::Set(GridInt(), static_cast<int>(point))};
}

// The best of some contenders, in each lane. All errors are finite.
template <class Shape>
HWY_INLINE GridInts BestContender(const LevelCosts<Shape>& costs, const uint16_t* points,
                                  size_t count) {
  static_assert(kContenderRun == 4);
  const auto best_of_four = [&](const uint16_t* four) HWY_ATTR {
    return BetterOf(BetterOf(Choose<Shape>(costs, four[0]), Choose<Shape>(costs, four[1])),
                    BetterOf(Choose<Shape>(costs, four[2]), Choose<Shape>(costs, four[3])));
  };
  Choices best = best_of_four(points);
  for (size_t i = kContenderRun; i < count; i += kContenderRun) {
    best = BetterOf(best, best_of_four(points + i));
  }
  return hn::Or(best.point, hn::Set(GridInt(), kOffGrid));
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
