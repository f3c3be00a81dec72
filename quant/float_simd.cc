// Vector kernels of the float codecs. Integer arithmetic on the bits, as in blocks.h, rather than
// the CPU's own f16 conversions: those keep a NaN's payload, and not every target has them; both
// ways are limited by memory. F32 and F64 need no kernel for the same reason.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/float_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "quant/blocks.h"
#include "quant/codecs.h"
#include "quant/float_ref.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<DF>;
using DU16 = hn::Rebind<uint16_t, DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

// An operation turns lanes of f32 into 16 bits (as int32 lanes in [0, 65535]) or back.
struct F16 {
  static HWY_INLINE VI Encode(VF value) {
    const DF df;
    const DI di;
    const VI bits = hn::BitCast(di, value);
    const VI magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF));
    const VI sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 0x8000));
    const VI odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 1));
    const VI normal =
        hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, hn::Set(di, 0x0FFF - 0x38000000)), odd));
    const VI subnormal =
        hn::Sub(hn::BitCast(di, hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f))),
                hn::Set(di, 0x3F000000));
    VI half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x38800000)), subnormal, normal);
    half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x477FF000)), half, hn::Set(di, 0x7C00));
    half = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)), hn::Set(di, 0x7E00), half);
    return hn::Or(half, sign);
  }

  static HWY_INLINE VF Decode(VI half) {
    const DF df;
    const DI di;
    const VI magnitude = hn::And(half, hn::Set(di, 0x7FFF));
    const VI sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(di, 0x8000)));
    const VF subnormal = hn::Mul(hn::ConvertTo(df, magnitude), hn::Set(df, 0x1p-24f));
    const VI shifted = hn::ShiftLeft<13>(magnitude);
    VI bits = hn::Add(shifted, hn::Set(di, 0x38000000));
    bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x0400)), hn::BitCast(di, subnormal), bits);
    bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x7C00)), bits,
                          hn::Or(shifted, hn::Set(di, 0x70000000)));
    const auto is_nan = hn::Gt(magnitude, hn::Set(di, 0x7C00));
    bits = hn::Or(bits, hn::IfThenElseZero(is_nan, hn::Set(di, 0x00400000)));
    return hn::BitCast(df, hn::Or(bits, sign));
  }
};

struct BF16 {
  static HWY_INLINE VI Encode(VF value) {
    const DI di;
    const hn::RebindToUnsigned<DF> du;
    const VI bits = hn::BitCast(di, value);
    const VI magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF));
    const VI upper = hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(du, bits)));
    const VI odd = hn::And(upper, hn::Set(di, 1));
    const VI sum = hn::Add(hn::Add(bits, hn::Set(di, 0x7FFF)), odd);
    const VI rounded = hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(du, sum)));
    return hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)),
                          hn::Or(upper, hn::Set(di, 0x40)), rounded);
  }

  static HWY_INLINE VF Decode(VI half) { return hn::BitCast(DF(), hn::ShiftLeft<16>(half)); }
};

// Converts the whole vectors of `count` weights and returns how many that were.
template <class Format>
HWY_INLINE size_t EncodeVectors(const float* weights, uint8_t* blocks, size_t count) {
  const DF df;
  const DU16 du16;
  const size_t lanes = hn::Lanes(df);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const VI halves = Format::Encode(hn::LoadU(df, weights + i));
    hn::StoreU(hn::DemoteTo(du16, halves), du16, reinterpret_cast<uint16_t*>(blocks + 2 * i));
  }
  return i;
}

template <class Format>
HWY_INLINE size_t DecodeVectors(const uint8_t* blocks, float* weights, size_t count) {
  const DF df;
  const DI di;
  const DU16 du16;
  const size_t lanes = hn::Lanes(df);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto halves = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(blocks + 2 * i));
    hn::StoreU(Format::Decode(hn::PromoteTo(di, halves)), df, weights + i);
  }
  return i;
}

size_t EncodeF16Vectors(const float* weights, uint8_t* blocks, size_t count) {
  return EncodeVectors<F16>(weights, blocks, count);
}
size_t DecodeF16Vectors(const uint8_t* blocks, float* weights, size_t count) {
  return DecodeVectors<F16>(blocks, weights, count);
}
size_t EncodeBF16Vectors(const float* weights, uint8_t* blocks, size_t count) {
  return EncodeVectors<BF16>(weights, blocks, count);
}
size_t DecodeBF16Vectors(const uint8_t* blocks, float* weights, size_t count) {
  return DecodeVectors<BF16>(blocks, weights, count);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(EncodeF16Vectors);
HWY_EXPORT(DecodeF16Vectors);
HWY_EXPORT(EncodeBF16Vectors);
HWY_EXPORT(DecodeBF16Vectors);

void EncodeF16(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
               const float* /*imatrix*/) noexcept {
  const size_t count = rows * columns;
  const size_t done = HWY_DYNAMIC_DISPATCH(EncodeF16Vectors)(weights, blocks, count);
  EncodeF16Reference(weights + done, blocks + 2 * done, 1, count - done, nullptr);
}

void DecodeF16(const uint8_t* blocks, float* weights, size_t count) noexcept {
  const size_t done = HWY_DYNAMIC_DISPATCH(DecodeF16Vectors)(blocks, weights, count);
  DecodeF16Reference(blocks + 2 * done, weights + done, count - done);
}

void EncodeBF16(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* /*imatrix*/) noexcept {
  const size_t count = rows * columns;
  const size_t done = HWY_DYNAMIC_DISPATCH(EncodeBF16Vectors)(weights, blocks, count);
  EncodeBF16Reference(weights + done, blocks + 2 * done, 1, count - done, nullptr);
}

void DecodeBF16(const uint8_t* blocks, float* weights, size_t count) noexcept {
  const size_t done = HWY_DYNAMIC_DISPATCH(DecodeBF16Vectors)(blocks, weights, count);
  DecodeBF16Reference(blocks + 2 * done, weights + done, count - done);
}

}  // namespace

constinit const Codec kF32Codec = {TensorType::kF32, false,   CopyF32,
                                   CopyF32Back,      CopyF32, CopyF32Back};
constinit const Codec kF16Codec = {
    TensorType::kF16, false, EncodeF16, DecodeF16, EncodeF16Reference, DecodeF16Reference};
constinit const Codec kBF16Codec = {
    TensorType::kBF16, false, EncodeBF16, DecodeBF16, EncodeBF16Reference, DecodeBF16Reference};
constinit const Codec kF64Codec = {TensorType::kF64,   false,   nullptr,
                                   DecodeF64Reference, nullptr, DecodeF64Reference};

}  // namespace quern::quant
#endif  // HWY_ONCE
