// What the search of the types with a grid reads of a block, eight weights at a time: the weights
// of the error, their roots, and the weights without their signs. Where registers hold fewer than
// eight floats, or a weight is not a number, the scalar definition does it.
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_PREPARE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_PREPARE_INL_H_
#undef QUERN_QUANT_IQUANT_PREPARE_INL_H_
#else
#define QUERN_QUANT_IQUANT_PREPARE_INL_H_
#endif

#include <bit>

#include "quant/iquant_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// Bit i: lane i of a mask of eight.
template <class Mask>
HWY_INLINE uint32_t BitsOf(Mask mask) {
  uint8_t bits[8] = {};
  hn::StoreMaskBits(GridFloat(), mask, bits);
  return bits[0];
}

HWY_INLINE GridFloats WeighErrors(const GridSearch& search, GridFloats x, float sigma2,
                                  const float* importance) {
  const GridFloat df;
  const GridFloats square = hn::Mul(x, x);
  if (importance != nullptr) {
    const GridFloats size = hn::Sqrt(hn::Add(hn::Set(df, sigma2), square));
    return hn::Mul(hn::LoadU(df, importance), size);
  }
  if (search.plain == PlainWeight::kSquareAndSigma2) {
    return hn::Add(hn::Set(df, 0.25f * sigma2), square);
  }
  return square;
}

// PrepareBlock.
inline void PrepareVectors(const float* x, float sigma2, const float* importance,
                           GridBlock* block) {
  const GridFloat df;
  const GridSearch& search = *block->search;
  GridFloats largest = hn::Zero(df);
  auto ordered = hn::Eq(largest, largest);
  for (size_t j = 0; j < block->n; j += kGridLanes) {
    const GridFloats from = hn::LoadU(df, x + j);
    const GridFloats weight =
        WeighErrors(search, from, sigma2, importance ? importance + j : nullptr);
    const GridFloats matters = hn::Mul(hn::Mul(weight, from), from);
    ordered = hn::And(ordered, hn::Eq(matters, matters));
    const auto not_negative = hn::Ge(from, hn::Zero(df));
    GridFloats magnitude = hn::IfThenElse(not_negative, from, hn::Neg(from));
    uint32_t signs = BitsOf(not_negative) ^ 255u;
    if (search.even_signs) {
      const uint32_t least = BitsOf(hn::Eq(matters, hn::MinOfLanes(df, matters)));
      const uint32_t odd = static_cast<uint32_t>(std::popcount(signs)) & 1u;
      const uint8_t flipped[8] = {static_cast<uint8_t>(least & (0u - least) & (0u - odd))};
      signs ^= flipped[0];
      const auto mask = hn::LoadMaskBits(df, flipped);
      magnitude = hn::IfThenElse(mask, hn::Neg(magnitude), magnitude);
    }
    hn::StoreU(weight, df, block->weights + j);
    hn::StoreU(hn::Sqrt(weight), df, block->roots + j);
    hn::StoreU(magnitude, df, block->x + j);
    block->signs[j / 8] = static_cast<uint8_t>(signs);
    largest = j == 0 ? magnitude : hn::Max(largest, magnitude);
  }
  if (!hn::AllTrue(df, ordered)) return PrepareBlock(x, sigma2, importance, block);
  block->largest = hn::GetLane(hn::MaxOfLanes(df, largest));
  if (!(block->largest >= search.zero_block)) block->largest = 0;
  block->first_scale = block->largest / block->span();
}

inline void PrepareBlocks(const GridInput& input, GridBlock* blocks, size_t count) {
  for (size_t b = 0; b < count; ++b) {
    const size_t j = b * blocks[b].n;
    const float* importance = input.importance ? input.importance + j : nullptr;
    if constexpr (kGridLanes == 8) {
      PrepareVectors(input.x + j, input.sigma2, importance, &blocks[b]);
    } else {
      PrepareBlock(input.x + j, input.sigma2, importance, &blocks[b]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
