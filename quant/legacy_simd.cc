// Vector kernels of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 without an importance matrix, and all decoders.
//
// A lane is an element here: minima, maxima and rounding do not depend on an order. Where they do -
// the sign of the largest of equal absolute values, the sign of a zero min - the block is scanned
// again in order. A vector has at most 16 lanes, half a block, and may have only one.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/legacy_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "quant/blocks.h"
#include "quant/codecs.h"
#include "quant/legacy_ref.h"
#include "quant/legacy_search.h"

#ifndef QUERN_QUANT_LEGACY_SIMD_ONCE_
#define QUERN_QUANT_LEGACY_SIMD_ONCE_
namespace quern::quant {

// The kernels of one instruction set, in the order Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
struct LegacyKernels {
  QuantizeFn quantize[5];
  DequantizeFn dequantize[5];
};

// The first weight whose absolute value is `size`.
inline float FirstOfSize(const float* x, float size) {
  while (std::fabs(*x) != size) ++x;
  return *x;
}

}  // namespace quern::quant
#endif  // QUERN_QUANT_LEGACY_SIMD_ONCE_

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, kBlock / 2>;
using DI = hn::RebindToSigned<DF>;
using DU8 = hn::Rebind<uint8_t, DF>;
using DI8 = hn::Rebind<int8_t, DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

struct Range {
  float min;
  float max;
};

// Extremes of a block, starting from `least` and `greatest`; NaNs take no part.
HWY_INLINE Range FindRange(const float* x, float least, float greatest) {
  const DF df;
  VF min = hn::Set(df, least);
  VF max = hn::Set(df, greatest);
  for (size_t i = 0; i < kBlock; i += hn::Lanes(df)) {
    const VF v = hn::LoadU(df, x + i);
    const auto is_number = hn::Eq(v, v);
    min = hn::Min(min, hn::IfThenElse(is_number, v, min));
    max = hn::Max(max, hn::IfThenElse(is_number, v, max));
  }
  return {hn::GetLane(hn::MinOfLanes(df, min)), hn::GetLane(hn::MaxOfLanes(df, max))};
}

// The first weight with the largest absolute value; +0 if there is none above zero.
HWY_INLINE float Extreme(const float* x) {
  const Range range = FindRange(x, 0.0f, 0.0f);
  if (range.max > -range.min) return range.max;
  if (range.max < -range.min) return range.min;
  return range.max == 0 ? 0.0f : FirstOfSize(x, range.max);
}

HWY_INLINE float Reciprocal(float value) { return value != 0 ? 1.0f / value : 0.0f; }

// Cuts to int32; what does not fit, NaN included, is 0.
HWY_INLINE VI Truncate(VF value) {
  const DF df;
  const auto fits = hn::Lt(hn::Abs(value), hn::Set(df, 0x1p31f));
  return hn::ConvertTo(DI(), hn::IfThenElseZero(fits, value));
}

// Bits 0 .. lanes-1: whether the lane is above 15.
HWY_INLINE uint32_t FifthBits(VI quants) {
  const DI di;
  uint8_t bytes[8] = {};  // StoreMaskBits may write eight
  hn::StoreMaskBits(di, hn::Gt(quants, hn::Set(di, 15)), bytes);
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// Rounds (x - min) * inverse + zero point and stores the quants and their fifth bits.
template <NibbleLayout kLayout>
HWY_INLINE void StoreQuants(const float* x, float min, float inverse, uint8_t* block) {
  const DF df;
  const DI di;
  const DU8 du8;
  const auto quants = [&](const float* from) HWY_ATTR {
    VF v = hn::LoadU(df, from);
    if constexpr (kLayout.has_min) v = hn::Sub(v, hn::Set(df, min));
    v = hn::Mul(v, hn::Set(df, inverse));
    const VI q = Truncate(hn::Add(v, hn::Set(df, kLayout.zero_point() + 0.5f)));
    return hn::Max(hn::Min(q, hn::Set(di, kLayout.max_quant())), hn::Zero(di));
  };
  uint32_t high_bits = 0;
  for (size_t i = 0; i < kBlock / 2; i += hn::Lanes(df)) {
    VI low = quants(x + i);
    VI high = quants(x + i + kBlock / 2);
    if constexpr (kLayout.has_qh()) {
      high_bits |= FifthBits(low) << i | FifthBits(high) << (i + kBlock / 2);
      low = hn::And(low, hn::Set(di, 15));
      high = hn::And(high, hn::Set(di, 15));
    }
    const VI pairs = hn::Or(low, hn::ShiftLeft<4>(high));
    hn::StoreU(hn::DemoteTo(du8, pairs), du8, block + kLayout.qs() + i);
  }
  if constexpr (kLayout.has_qh()) std::memcpy(block + kLayout.qh(), &high_bits, 4);
}

template <NibbleLayout kLayout>
HWY_INLINE void QuantizeBlock(const float* x, uint8_t* block) {
  if constexpr (kLayout.has_min) {
    constexpr float kMax = std::numeric_limits<float>::max();
    Range range = FindRange(x, kMax, -kMax);
    if (range.min == 0) range.min = FirstOfSize(x, 0.0f);
    // All zero: the first is max as well as min, so that their difference is +0.
    if (range.min == 0 && range.max == 0) range.max = range.min;
    const float scale = (range.max - range.min) / static_cast<float>(kLayout.max_quant());
    Store16(block, F32ToF16(scale));
    Store16(block + kLayout.m(), F32ToF16(range.min));
    StoreQuants<kLayout>(x, range.min, Reciprocal(scale), block);
  } else {
    const float scale = Extreme(x) / -static_cast<float>(kLayout.zero_point());
    Store16(block, F32ToF16(scale));
    StoreQuants<kLayout>(x, 0.0f, Reciprocal(scale), block);
  }
}

template <NibbleLayout kLayout>
void QuantizeNibbles(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                     const float* imatrix) {
  if (imatrix) {
    QuantizeNibblesWeighted(kLayout, weights, blocks, rows, columns, imatrix);
    return;
  }
  for (size_t i = 0; i < rows * columns; i += kBlock, blocks += kLayout.bytes()) {
    QuantizeBlock<kLayout>(weights + i, blocks);
  }
}

template <NibbleLayout kLayout>
void DequantizeNibbles(const uint8_t* blocks, float* weights, size_t count) {
  const DF df;
  const DI di;
  const DU8 du8;
  for (; count > 0; count -= kBlock, blocks += kLayout.bytes(), weights += kBlock) {
    const VF scale = hn::Set(df, F16ToF32(Load16(blocks)));
    const VF min = hn::Set(df, kLayout.has_min ? F16ToF32(Load16(blocks + kLayout.m())) : 0);
    const auto decode = [&](VI quants) HWY_ATTR {
      const VI centred = hn::Sub(quants, hn::Set(di, kLayout.zero_point()));
      const VF product = hn::Mul(hn::ConvertTo(df, centred), scale);
      if constexpr (kLayout.has_min) return hn::Add(product, min);
      return product;
    };
    uint8_t fifth_bits[kBlock] = {};
    if constexpr (kLayout.has_qh()) {
      uint32_t high_bits;
      std::memcpy(&high_bits, blocks + kLayout.qh(), sizeof(high_bits));
      for (size_t i = 0; i < kBlock; ++i) fifth_bits[i] = (high_bits >> i & 1) << 4;
    }
    for (size_t i = 0; i < kBlock / 2; i += hn::Lanes(df)) {
      const VI pairs = hn::PromoteTo(di, hn::LoadU(du8, blocks + kLayout.qs() + i));
      VI low = hn::And(pairs, hn::Set(di, 15));
      VI high = hn::ShiftRight<4>(pairs);
      if constexpr (kLayout.has_qh()) {
        low = hn::Or(low, hn::PromoteTo(di, hn::LoadU(du8, fifth_bits + i)));
        high = hn::Or(high, hn::PromoteTo(di, hn::LoadU(du8, fifth_bits + kBlock / 2 + i)));
      }
      hn::StoreU(decode(low), df, weights + i);
      hn::StoreU(decode(high), df, weights + kBlock / 2 + i);
    }
  }
}

void QuantizeQ8_0(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                  const float* /*imatrix*/) {
  const DF df;
  const DI8 di8;
  // Half away from zero: the largest float below 0.5, with the sign of the value, is added before
  // the cut. Adding 0.5 itself would round 0.49999997 up.
  const VF below_half = hn::Set(df, 0x1.fffffep-2f);
  for (size_t i = 0; i < rows * columns; i += kBlock, blocks += kQ8_0Bytes) {
    const float* x = weights + i;
    const Range range = FindRange(x, 0.0f, 0.0f);
    const float scale = std::fabs(HWY_MAX(range.max, -range.min)) / 127.0f;  // no -0
    const VF inverse = hn::Set(df, Reciprocal(scale));
    Store16(blocks, F32ToF16(scale));
    for (size_t j = 0; j < kBlock; j += hn::Lanes(df)) {
      const VF v = hn::Mul(hn::LoadU(df, x + j), inverse);
      const VI q = Truncate(hn::Add(v, hn::CopySignToAbs(below_half, v)));
      hn::StoreU(hn::DemoteTo(di8, q), di8, reinterpret_cast<int8_t*>(blocks + kQ8_0Quants + j));
    }
  }
}

void DequantizeQ8_0(const uint8_t* blocks, float* weights, size_t count) {
  const DF df;
  const DI di;
  const DI8 di8;
  for (; count > 0; count -= kBlock, blocks += kQ8_0Bytes, weights += kBlock) {
    const VF scale = hn::Set(df, F16ToF32(Load16(blocks)));
    for (size_t j = 0; j < kBlock; j += hn::Lanes(df)) {
      const auto q = hn::LoadU(di8, reinterpret_cast<const int8_t*>(blocks + kQ8_0Quants + j));
      hn::StoreU(hn::Mul(hn::ConvertTo(df, hn::PromoteTo(di, q)), scale), df, weights + j);
    }
  }
}

const LegacyKernels* Kernels() {
  static constexpr LegacyKernels kKernels = {
      {QuantizeNibbles<kQ4_0Layout>, QuantizeNibbles<kQ4_1Layout>, QuantizeNibbles<kQ5_0Layout>,
       QuantizeNibbles<kQ5_1Layout>, QuantizeQ8_0},
      {DequantizeNibbles<kQ4_0Layout>, DequantizeNibbles<kQ4_1Layout>,
       DequantizeNibbles<kQ5_0Layout>, DequantizeNibbles<kQ5_1Layout>, DequantizeQ8_0}};
  return &kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(Kernels);

template <size_t kIndex>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  HWY_DYNAMIC_DISPATCH(Kernels)()->quantize[kIndex](weights, blocks, rows, columns, imatrix);
}

template <size_t kIndex>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Kernels)()->dequantize[kIndex](blocks, weights, count);
}

template <size_t kIndex, NibbleLayout kLayout>
constexpr Codec NibbleCodec(TensorType type) {
  return {type,
          false,
          Quantize<kIndex>,
          Dequantize<kIndex>,
          QuantizeNibblesReference<kLayout>,
          DequantizeNibblesReference<kLayout>};
}

}  // namespace

constinit const Codec kQ4_0Codec = NibbleCodec<0, kQ4_0Layout>(TensorType::kQ4_0);
constinit const Codec kQ4_1Codec = NibbleCodec<1, kQ4_1Layout>(TensorType::kQ4_1);
constinit const Codec kQ5_0Codec = NibbleCodec<2, kQ5_0Layout>(TensorType::kQ5_0);
constinit const Codec kQ5_1Codec = NibbleCodec<3, kQ5_1Layout>(TensorType::kQ5_1);
constinit const Codec kQ8_0Codec = {TensorType::kQ8_0,     false,
                                    Quantize<4>,           Dequantize<4>,
                                    QuantizeQ8_0Reference, DequantizeQ8_0Reference};

}  // namespace quern::quant
#endif  // HWY_ONCE
