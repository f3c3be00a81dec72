// Vector kernels of the ternary, one-bit, two-bit and FP4 types. A lane is a weight: nothing but
// the mean of Q1_0 depends on an order, and that is taken of a block per lane.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/lowbit_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>

#include "quant/blocks.h"
#include "quant/codecs.h"
#include "quant/lanes-inl.h"
#include "quant/lowbit_blocks.h"

#ifndef QUERN_QUANT_LOWBIT_SIMD_ONCE_
#define QUERN_QUANT_LOWBIT_SIMD_ONCE_
namespace quern::quant {

// (v * 256 + 242) / 243 for five trits v, without the division.
constexpr int32_t PackTrits(int32_t v) { return (v * 256 + 242) * 17261 >> 22; }
static_assert([] {
  for (int32_t v = 0; v < 243; ++v) {
    if (PackTrits(v) != (v * 256 + 242) / 243) return false;
  }
  return true;
}());

}  // namespace quern::quant
#endif  // QUERN_QUANT_LOWBIT_SIMD_ONCE_

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace lowbit {

using D = hn::CappedTag<float, 8>;
using D4 = hn::CappedTag<float, 4>;  // for the last four bytes of TQ1_0
template <class DF>
using IntTag = hn::RebindToSigned<DF>;
template <class DF>
using ByteTag = hn::Rebind<uint8_t, DF>;
constexpr size_t kN = hn::MaxLanes(D());

template <class DF>
HWY_INLINE void StoreBytes(DF, hn::Vec<IntTag<DF>> bytes, uint8_t* to) {
  hn::StoreU(hn::DemoteTo(ByteTag<DF>(), bytes), ByteTag<DF>(), to);
}
template <class DF>
HWY_INLINE hn::Vec<IntTag<DF>> LoadBytes(DF, const uint8_t* from) {
  return hn::PromoteTo(IntTag<DF>(), hn::LoadU(ByteTag<DF>(), from));
}

// NaN takes no part.
HWY_INLINE float LargestMagnitude(const float* x, size_t n) {
  const D d;
  auto largest = hn::Zero(d);
  for (size_t i = 0; i < n; i += kN) {
    const auto size = hn::Abs(hn::LoadU(d, x + i));
    largest = hn::IfThenElse(hn::Gt(size, largest), size, largest);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// 0..2: half away from zero, of |value| < 1.5; NaN is 0, hence 1.
template <class DF>
HWY_INLINE hn::Vec<IntTag<DF>> Trit(DF df, hn::Vec<DF> value) {
  const IntTag<DF> di;
  const auto up = hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(value, hn::Set(df, 0.5f))));
  const auto down = hn::VecFromMask(di, hn::RebindMask(di, hn::Le(value, hn::Set(df, -0.5f))));
  return hn::Add(hn::Sub(hn::Set(di, 1), up), down);  // a mask is -1
}

// (q - 1) * scale at `to`.
template <class DF>
HWY_INLINE void StoreTrits(DF df, hn::Vec<IntTag<DF>> q, float scale, float* to) {
  const auto value = hn::ConvertTo(df, hn::Sub(q, hn::Set(IntTag<DF>(), 1)));
  hn::StoreU(hn::Mul(value, hn::Set(df, scale)), df, to);
}

template <class DF>
HWY_INLINE void PackRun(DF df, const TritRun& run, const float* x, float inverse, uint8_t* block) {
  const IntTag<DF> di;
  for (size_t m = 0; m < run.bytes; m += hn::Lanes(df)) {
    auto value = hn::Zero(di);
    for (size_t n = 0; n < 5; ++n) {
      value = hn::Add(hn::Add(value, value), value);
      if (n == run.trits) break;
      const auto xs = hn::LoadU(df, x + run.first + m + run.bytes * n);
      value = hn::Add(value, Trit(df, hn::Mul(xs, hn::Set(df, inverse))));
    }
    const auto scaled = hn::Add(hn::ShiftLeft<8>(value), hn::Set(di, 242));  // as PackTrits
    StoreBytes(df, hn::ShiftRight<22>(hn::Mul(scaled, hn::Set(di, 17261))), block + run.byte + m);
  }
}

template <class DF>
HWY_INLINE void UnpackRun(DF df, const TritRun& run, const uint8_t* block, float scale,
                          float* weights) {
  const IntTag<DF> di;
  for (size_t m = 0; m < run.bytes; m += hn::Lanes(df)) {
    auto rest = LoadBytes(df, block + run.byte + m);
    for (size_t n = 0; n < run.trits; ++n) {
      const auto tripled = hn::Add(hn::Add(rest, rest), rest);
      StoreTrits(df, hn::ShiftRight<8>(tripled), scale, weights + run.first + m + run.bytes * n);
      rest = hn::And(tripled, hn::Set(di, 255));
    }
  }
}

// Levels of E2M1, 16 for negative weights' sign; the nearest, the lower one of two as near. The
// weights' magnitudes are below 2^12 scales, so that the differences to the two nearest values are
// exact and comparing with their means comes to the same.
HWY_INLINE hn::Vec<IntTag<D>> NearestE2M1(hn::Vec<D> x, const hn::Vec<D>* bounds) {
  const D d;
  const IntTag<D> di;
  const auto size = hn::Abs(x);
  auto level = hn::Zero(di);
  for (size_t i = 0; i < 7; ++i) {
    level = hn::Sub(level, hn::VecFromMask(di, hn::RebindMask(di, hn::Gt(size, bounds[i]))));
  }
  const auto negative =
      hn::And(hn::RebindMask(di, hn::Lt(x, hn::Zero(d))), hn::Gt(level, hn::Zero(di)));
  return hn::Add(level, hn::IfThenElseZero(negative, hn::Set(di, 8)));
}

// 2n weights in n bytes: byte j has quants j and n+j. False if the scale does not suit the weights.
HWY_INLINE bool PackE2M1(const float* x, size_t n, float scale, float largest, uint8_t* qs) {
  constexpr float kMeans[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};
  const D d;
  if (!(largest < 4096 * scale)) return false;
  hn::Vec<D> bounds[7];
  for (size_t i = 0; i < 7; ++i) bounds[i] = hn::Set(d, kMeans[i] * scale);
  for (size_t j = 0; j < n; j += kN) {
    const auto low = NearestE2M1(hn::LoadU(d, x + j), bounds);
    const auto high = NearestE2M1(hn::LoadU(d, x + n + j), bounds);
    StoreBytes(d, hn::Or(low, hn::ShiftLeft<4>(high)), qs + j);
  }
  return true;
}

}  // namespace lowbit

void QuantizeTQ1(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                 const float* /*imatrix*/) {
  for (size_t i = 0; i < rows * columns; i += kTernary, blocks += kTQ1Bytes) {
    const float* x = weights + i;
    const float scale = lowbit::LargestMagnitude(x, kTernary);
    const float inverse = InverseOfScale(scale);
    lowbit::PackRun(lowbit::D(), kTritRuns[0], x, inverse, blocks);
    lowbit::PackRun(lowbit::D(), kTritRuns[1], x, inverse, blocks);
    lowbit::PackRun(lowbit::D4(), kTritRuns[2], x, inverse, blocks);
    Store16(blocks + 52, F32ToF16(scale));
  }
}

void DequantizeTQ1(const uint8_t* blocks, float* weights, size_t count) {
  for (size_t i = 0; i < count; i += kTernary, blocks += kTQ1Bytes) {
    const float scale = F16ToF32(Load16(blocks + 52));
    lowbit::UnpackRun(lowbit::D(), kTritRuns[0], blocks, scale, weights + i);
    lowbit::UnpackRun(lowbit::D(), kTritRuns[1], blocks, scale, weights + i);
    lowbit::UnpackRun(lowbit::D4(), kTritRuns[2], blocks, scale, weights + i);
  }
}

void QuantizeTQ2(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                 const float* /*imatrix*/) {
  const lowbit::D d;
  for (size_t i = 0; i < rows * columns; i += kTernary, blocks += kTQ2Bytes) {
    const float scale = lowbit::LargestMagnitude(weights + i, kTernary);
    const auto inverse = hn::Set(d, InverseOfScale(scale));
    for (size_t j = 0; j < 64; j += lowbit::kN) {
      const float* x = weights + i + j / 32 * 128 + j % 32;
      const auto trit = [&](size_t n) HWY_ATTR {
        return lowbit::Trit(d, hn::Mul(hn::LoadU(d, x + 32 * n), inverse));
      };
      const auto low = hn::Or(trit(0), hn::ShiftLeft<2>(trit(1)));
      const auto high = hn::Or(trit(2), hn::ShiftLeft<2>(trit(3)));
      lowbit::StoreBytes(d, hn::Or(low, hn::ShiftLeft<4>(high)), blocks + j);
    }
    Store16(blocks + 64, F32ToF16(scale));
  }
}

void DequantizeTQ2(const uint8_t* blocks, float* weights, size_t count) {
  const lowbit::D d;
  for (size_t i = 0; i < count; i += kTernary, blocks += kTQ2Bytes) {
    const float scale = F16ToF32(Load16(blocks + 64));
    for (size_t j = 0; j < 64; j += lowbit::kN) {
      float* to = weights + i + j / 32 * 128 + j % 32;
      auto bits = lowbit::LoadBytes(d, blocks + j);
      for (size_t n = 0; n < 4; ++n) {
        const auto q = hn::And(bits, hn::Set(lowbit::IntTag<lowbit::D>(), 3));
        lowbit::StoreTrits(d, q, scale, to + 32 * n);
        bits = hn::ShiftRight<2>(bits);
      }
    }
  }
}

void QuantizeQ1(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* /*imatrix*/) {
  const lowbit::D d;
  constexpr size_t kN = lowbit::kN;
  const size_t total = rows * columns / kQ1Weights;
  HWY_ALIGN float lanes[kQ1Weights * kN];
  HWY_ALIGN float sums[kN];
  const float* starts[kN];
  for (size_t first = 0; first < total; first += kN) {
    const size_t count = std::min(kN, total - first);
    for (size_t b = 0; b < kN; ++b) starts[b] = weights + (first + b % count) * kQ1Weights;
    Transpose(starts, kN, kQ1Weights, lanes);
    auto sum = hn::Zero(d);
    for (size_t j = 0; j < kQ1Weights; ++j) {
      sum = hn::Add(sum, hn::Abs(hn::Load(d, lanes + j * kN)));
    }
    hn::Store(sum, d, sums);
    for (size_t b = 0; b < count; ++b, blocks += kBitBytes) {
      Store16(blocks, F32ToF16(sums[b] / static_cast<float>(kQ1Weights)));
      for (size_t j = 0; j < kQ1Weights / 8; ++j) {
        int bits = 0;
        for (size_t k = 0; k < 8; k += kN) {
          uint8_t mask[8];
          hn::StoreMaskBits(d, hn::Ge(hn::LoadU(d, starts[b] + 8 * j + k), hn::Zero(d)), mask);
          bits |= mask[0] << k;
        }
        blocks[2 + j] = static_cast<uint8_t>(bits);
      }
    }
  }
}

void DequantizeQ1(const uint8_t* blocks, float* weights, size_t count) {
  const lowbit::D d;
  const lowbit::IntTag<lowbit::D> di;
  for (size_t i = 0; i < count; i += kQ1Weights, blocks += kBitBytes) {
    const float scale = F16ToF32(Load16(blocks));
    const auto plus = hn::Set(d, scale);
    const auto minus = hn::Set(d, -scale);
    for (size_t j = 0; j < kQ1Weights; j += lowbit::kN) {
      const auto place = hn::Iota(di, static_cast<int32_t>(j % 8));
      const auto bit = hn::And(hn::Set(di, blocks[2 + j / 8]), hn::Shl(hn::Set(di, 1), place));
      const auto set = hn::RebindMask(d, hn::Gt(bit, hn::Zero(di)));
      hn::StoreU(hn::IfThenElse(set, plus, minus), d, weights + i + j);
    }
  }
}

void QuantizeQ2(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* /*imatrix*/) {
  const lowbit::D d;
  const lowbit::IntTag<lowbit::D> di;
  for (size_t i = 0; i < rows * columns; i += kQ2Weights, blocks += kBitBytes) {
    const float scale = lowbit::LargestMagnitude(weights + i, kQ2Weights);
    const auto inverse = hn::Set(d, scale > 0 ? 1.0f / scale : 0.0f);
    // 0 where the inverse is infinite or the weight NaN; else the size is about 1 at most.
    const auto quant = [&](hn::Vec<lowbit::D> x) HWY_ATTR {
      const auto value = hn::Mul(x, inverse);
      const auto valid = hn::RebindMask(di, hn::Lt(hn::Abs(value), hn::Set(d, 1.5f)));
      return hn::IfThenElseZero(valid, lowbit::Trit(d, value));
    };
    Store16(blocks, F32ToF16(scale));
    for (size_t j = 0; j < kQ2Weights / 4; j += lowbit::kN) {
      hn::Vec<lowbit::D> x[4];
      hn::LoadInterleaved4(d, weights + i + 4 * j, x[0], x[1], x[2], x[3]);
      const auto low = hn::Or(quant(x[0]), hn::ShiftLeft<2>(quant(x[1])));
      const auto high = hn::Or(quant(x[2]), hn::ShiftLeft<2>(quant(x[3])));
      lowbit::StoreBytes(d, hn::Or(low, hn::ShiftLeft<4>(high)), blocks + 2 + j);
    }
  }
}

void QuantizeMX(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* /*imatrix*/) {
  for (size_t i = 0; i < rows * columns; i += kBlock, blocks += kMxBytes) {
    const float* x = weights + i;
    const float largest = lowbit::LargestMagnitude(x, kBlock);
    blocks[0] = ExponentMXFP4(largest);
    if (!lowbit::PackE2M1(x, kBlock / 2, HalfE8M0(blocks[0]), largest, blocks + 1)) {
      QuantizeMXFP4Reference(x, blocks, 1, kBlock, nullptr);
    }
  }
}

void QuantizeNV(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* /*imatrix*/) {
  for (size_t i = 0; i < rows * columns; i += kNvWeights, blocks += kNvBytes) {
    bool packed = true;
    for (size_t b = 0; b < 4; ++b) {
      const float* x = weights + i + kNvBlock * b;
      const float largest = lowbit::LargestMagnitude(x, kNvBlock);
      blocks[b] = ToUE4M3(largest / 6.0f);
      packed &=
          lowbit::PackE2M1(x, kNvBlock / 2, HalfUE4M3(blocks[b]), largest, blocks + 4 + 8 * b);
    }
    if (!packed) QuantizeNVFP4Reference(weights + i, blocks, 1, kNvWeights, nullptr);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

// A pair of functions as QuantizeFn, DequantizeFn.
#define QUERN_LOWBIT_QUANTIZE(name)                                                   \
  HWY_EXPORT(name);                                                                   \
  void name##Best(const float* weights, uint8_t* blocks, size_t rows, size_t columns, \
                  const float* imatrix) noexcept {                                    \
    HWY_DYNAMIC_DISPATCH(name)(weights, blocks, rows, columns, imatrix);              \
  }
#define QUERN_LOWBIT_DEQUANTIZE(name)                                             \
  HWY_EXPORT(name);                                                               \
  void name##Best(const uint8_t* blocks, float* weights, size_t count) noexcept { \
    HWY_DYNAMIC_DISPATCH(name)(blocks, weights, count);                           \
  }
QUERN_LOWBIT_QUANTIZE(QuantizeTQ1)
QUERN_LOWBIT_QUANTIZE(QuantizeTQ2)
QUERN_LOWBIT_QUANTIZE(QuantizeQ1)
QUERN_LOWBIT_QUANTIZE(QuantizeQ2)
QUERN_LOWBIT_QUANTIZE(QuantizeMX)
QUERN_LOWBIT_QUANTIZE(QuantizeNV)
QUERN_LOWBIT_DEQUANTIZE(DequantizeTQ1)
QUERN_LOWBIT_DEQUANTIZE(DequantizeTQ2)
QUERN_LOWBIT_DEQUANTIZE(DequantizeQ1)
#undef QUERN_LOWBIT_QUANTIZE
#undef QUERN_LOWBIT_DEQUANTIZE

}  // namespace

constinit const Codec kTQ1_0Codec = {TensorType::kTQ1_0,     false,
                                     QuantizeTQ1Best,        DequantizeTQ1Best,
                                     QuantizeTQ1_0Reference, DequantizeTQ1_0Reference};
constinit const Codec kTQ2_0Codec = {TensorType::kTQ2_0,     false,
                                     QuantizeTQ2Best,        DequantizeTQ2Best,
                                     QuantizeTQ2_0Reference, DequantizeTQ2_0Reference};
constinit const Codec kQ1_0Codec = {TensorType::kQ1_0,     false,
                                    QuantizeQ1Best,        DequantizeQ1Best,
                                    QuantizeQ1_0Reference, DequantizeQ1_0Reference};
// Compilers make vectors of the remaining decoders.
constinit const Codec kQ2_0Codec = {TensorType::kQ2_0,     false,
                                    QuantizeQ2Best,        DequantizeQ2_0Reference,
                                    QuantizeQ2_0Reference, DequantizeQ2_0Reference};
constinit const Codec kMXFP4Codec = {TensorType::kMXFP4,     false,
                                     QuantizeMXBest,         DequantizeMXFP4Reference,
                                     QuantizeMXFP4Reference, DequantizeMXFP4Reference};
constinit const Codec kNVFP4Codec = {TensorType::kNVFP4,     false,
                                     QuantizeNVBest,         DequantizeNVFP4Reference,
                                     QuantizeNVFP4Reference, DequantizeNVFP4Reference};

}  // namespace quern::quant
#endif  // HWY_ONCE
