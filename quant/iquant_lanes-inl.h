// What the kernels of the types with a grid share: their lanes, blocks with a lane each, and the
// choice among near points for one scale. Per-target include file of Highway: no ordinary include
// guard.
#if defined(QUERN_QUANT_IQUANT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_LANES_INL_H_
#undef QUERN_QUANT_IQUANT_LANES_INL_H_
#else
#define QUERN_QUANT_IQUANT_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <bit>
#include <limits>

#include "quant/iquant_ref.h"
#include "quant/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// Blocks of a superblock are eight or sixteen, and candidates come in multiples of eight, nearly.
using GridFloat = hn::CappedTag<float, 8>;
using GridInt = hn::RebindToSigned<GridFloat>;
using GridFloats = hn::Vec<GridFloat>;
using GridInts = hn::Vec<GridInt>;
constexpr size_t kGridLanes = hn::MaxLanes(GridFloat());

// A grid as template arguments.
template <int bits, size_t group>
struct GridShape {
  static constexpr int kBits = bits;
  static constexpr size_t kGroup = group;
  static constexpr int kTop = bits == 2 ? 2 : 7;
  static constexpr size_t kLevels = size_t{1} << bits;  // room for
};
using Shape2 = GridShape<2, 8>;
using Shape3 = GridShape<3, 4>;

// kGridLanes blocks, weight i of block j at i * kGridLanes + j.
struct BlockLanes {
  HWY_ALIGN float x[kMaxGridBlock * kGridLanes];
  HWY_ALIGN float weights[kMaxGridBlock * kGridLanes];
  // Whether a block has a largest weight, inverse scales around this one times weights stay in the
  // range of rounding, and errors of all levels are finite. Others are left to scalar code.
  bool regular[kGridLanes];
};

inline void FindRegular(const GridBlock* blocks, BlockLanes& lanes) {
  const GridFloat df;
  const GridInt di;
  GridInts x = hn::Zero(di);
  GridInts weight = hn::Zero(di);
  for (size_t i = 0; i < blocks[0].n * kGridLanes; i += kGridLanes) {  // as integers, for NaNs
    x = hn::Max(x, hn::BitCast(di, hn::Abs(hn::Load(df, lanes.x + i))));
    weight = hn::Max(weight, hn::BitCast(di, hn::Abs(hn::Load(df, lanes.weights + i))));
  }
  HWY_ALIGN float most[kGridLanes];
  HWY_ALIGN float most_weight[kGridLanes];
  hn::Store(hn::BitCast(df, x), df, most);
  hn::Store(hn::BitCast(df, weight), df, most_weight);
  for (size_t j = 0; j < kGridLanes; ++j) {
    const float largest = blocks[j].largest;
    lanes.regular[j] =
        largest > 1e-30f && most[j] < 65536 * largest && most[j] < 1e12f && most_weight[j] < 1e24f;
  }
}

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

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
