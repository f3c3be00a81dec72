// Byte layouts of the float types and of the 32-weight block types, and the scalar conversions
// (f32, f16, bf16, nearest integer) that every family shares.
//
// Contract: little-endian; fields are read and written by offset with Load16/Store16, so a block
// needs no alignment. Conversions round to nearest even and equal ggml's, bit for bit, NaNs
// included. K-quant superblocks: kquant_blocks.h.
// Source: ggml's src/ggml-common.h (layouts) and src/ggml-impl.h (conversions), v0.5.0.
#ifndef QUERN_QUANT_BLOCKS_H_
#define QUERN_QUANT_BLOCKS_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace quern::quant {

// Weights in a block of the types below.
inline constexpr size_t kBlock = 32;

// Q4_0: 18 bytes, 4.5 bpw. w = d * (q - 8)
//  offset size field   content
//       0    2 d       f16, scale
//       2   16 qs      byte j: low nibble q[j], high nibble q[16+j]
//
// Q4_1: 20 bytes, 5 bpw. w = d * q + m
//       0    2 d       f16, scale
//       2    2 m       f16, min
//       4   16 qs      as Q4_0
//
// Q5_0: 22 bytes, 5.5 bpw. w = d * (q - 16)
//       0    2 d       f16, scale
//       2    4 qh      bit j: bit 4 of q[j]
//       6   16 qs      byte j: low nibble q[j] & 15, high nibble q[16+j] & 15
//
// Q5_1: 24 bytes, 6 bpw. w = d * q + m
//       0    2 d       f16, scale
//       2    2 m       f16, min
//       4    4 qh      as Q5_0
//       8   16 qs      as Q5_0
//
// The four differ in two facts, bits of a quant and whether there is a min; the rest follows.
struct NibbleLayout {
  int bits;      // of a quant: 4, or 5 with the fifth in qh
  bool has_min;  // w = d * q + m, otherwise w = d * (q - 2^(bits-1))

  constexpr bool has_qh() const { return bits == 5; }
  constexpr int max_quant() const { return (1 << bits) - 1; }
  constexpr int zero_point() const { return has_min ? 0 : 1 << (bits - 1); }
  // Offsets; d is at 0.
  constexpr size_t m() const { return 2; }
  constexpr size_t qh() const { return has_min ? 4 : 2; }
  constexpr size_t qs() const { return qh() + (has_qh() ? 4 : 0); }
  constexpr size_t bytes() const { return qs() + kBlock / 2; }
};

inline constexpr NibbleLayout kQ4_0Layout{4, false};
inline constexpr NibbleLayout kQ4_1Layout{4, true};
inline constexpr NibbleLayout kQ5_0Layout{5, false};
inline constexpr NibbleLayout kQ5_1Layout{5, true};

// Q8_0: 34 bytes, 8.5 bpw. w = d * q
//  offset size field   content
//       0    2 d       f16, scale
//       2   32 qs      int8, q[j]
inline constexpr size_t kQ8_0Bytes = 34;
inline constexpr size_t kQ8_0Quants = 2;

inline uint16_t Load16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

inline void Store16(uint8_t* bytes, uint16_t value) { std::memcpy(bytes, &value, sizeof(value)); }

// f16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Exact; a signalling NaN becomes quiet and
// keeps its payload, as it does in hardware.
inline float F16ToF32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7FFFu;
  if (magnitude < 0x0400) {  // subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
  }
  uint32_t bits = magnitude << 13;
  if (magnitude < 0x7C00) {
    bits += 0x38000000u;  // bias 15 -> 127
  } else {
    bits |= 0x70000000u;  // exponent 31 -> 255: infinity or NaN
    if (magnitude > 0x7C00) bits |= 0x00400000u;
  }
  return std::bit_cast<float>(sign | bits);
}

// Rounds to nearest even; from 65520 on infinity; every NaN becomes 0x7E00 with its sign.
inline uint16_t F32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  uint32_t half;
  if (magnitude > 0x7F800000u) {
    half = 0x7E00;
  } else if (magnitude >= 0x477FF000u) {  // 65520
    half = 0x7C00;
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14: a sum with 0.5, whose unit in the last place is 2^-24, rounds to the f16 grid.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  } else {
    half = (magnitude - 0x38000000u + 0x0FFFu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// bf16: the upper half of an f32.
inline float BF16ToF32(uint16_t half) {
  return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
}

// Rounds to nearest even; a NaN is cut to its upper half and made quiet.
inline uint16_t F32ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// ggml's nearest_int: to nearest even for |value| < 2^22, which every quantizer stays within for
// finite weights. The sum leaves the integer in the mantissa, so that any other input, NaN
// included, gives some fixed value in [-2^22, 2^22) as well.
inline int32_t NearestInt(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value + 0x1.8p23f);
  return static_cast<int32_t>(bits & 0x007FFFFFu) - 0x00400000;
}

}  // namespace quern::quant

#endif  // QUERN_QUANT_BLOCKS_H_
