// The remaining block types: ternary (TQ1_0, TQ2_0), one and two bits (Q1_0, Q2_0), floats of four
// bits (MXFP4, NVFP4), and two that are only decoded (Q8_1, Q8_K; ggml's for activations).
//
// Contract: as quant/codec.h. None of them uses the importance matrix. Weights that are not finite
// give a defined, meaningless result. Source: ggml's src/ggml-common.h (layouts), v0.5.0.
#ifndef QUERN_QUANT_LOWBIT_BLOCKS_H_
#define QUERN_QUANT_LOWBIT_BLOCKS_H_

#include <cstddef>
#include <cstdint>

namespace quern::quant {

// TQ1_0: 256 weights, 54 bytes, 1.6875 bpw.      w = d * (t - 1), t in 0..2
//  offset size field   content
//       0   48 qs      5 trits per byte: bytes 0..31 t[m + 32n], bytes 32..47 t[160 + m + 16n]
//      48    4 qh      4 trits per byte: t[240 + m + 4n]
//      52    2 d       f16
// The trits of a byte, n = 0 first, are the digits of a number v < 243 in base 3; the byte is
// v * 256 / 243, rounded up, so that byte*3 >> 8 is the first digit. qh counts a fifth trit of 0.
//
// TQ2_0: 256 weights, 66 bytes, 2.0625 bpw.      w = d * (q - 1), q in 0..3 (3 is not written)
//       0   64 qs      byte 32p+m: bits 2n,2n+1 = q[128p + 32n + m]
//      64    2 d       f16
//
// Q1_0: 128 weights, 18 bytes, 1.125 bpw.        w = d or -d
//       0    2 d       f16, mean of |w|
//       2   16 qs      bit k of byte j: w[8j+k] >= 0
//
// Q2_0: 64 weights, 18 bytes, 2.25 bpw.          w = d * (q - 1), q in 0..3
//       0    2 d       f16, the largest |w|
//       2   16 qs      bits 2k,2k+1 of byte j: q[4j+k]
//
// MXFP4: 32 weights, 17 bytes, 4.25 bpw.         w = 2^(e-128) * E2M1[q]
//       0    1 e       exponent, E8M0
//       1   16 qs      byte j: low nibble q[j], high nibble q[16+j]
//
// NVFP4: 64 weights, 36 bytes, 4.5 bpw.          w = d[b]/2 * E2M1[q], b = block of 16
//       0    4 d       UE4M3: 4 bits exponent (bias 7), 3 bits mantissa; 0 and 127 are zero
//       4   32 qs      byte 8b+j: low nibble q[16b+j], high nibble q[16b+8+j]
// E2M1 is a sign bit and twice the values 0 0.5 1 1.5 2 3 4 6.
//
// Q8_1: 32 weights, 36 bytes.                    w = d * q
//       0    2 d       f16
//       2    2 s       f16, d * sum of q
//       4   32 qs      int8
//
// Q8_K: 256 weights, 292 bytes.                  w = d * q
//       0    4 d       f32
//       4  256 qs      int8
//     260   32 bsums   int16, sums of 16 quants

inline constexpr size_t kTernary = 256;
inline constexpr size_t kTQ1Bytes = 54;
inline constexpr size_t kTQ2Bytes = 66;
inline constexpr size_t kQ1Weights = 128;
inline constexpr size_t kQ2Weights = 64;
inline constexpr size_t kBitBytes = 18;  // Q1_0 and Q2_0
inline constexpr size_t kMxBytes = 17;
inline constexpr size_t kNvWeights = 64;
inline constexpr size_t kNvBlock = 16;
inline constexpr size_t kNvBytes = 36;

// Where the trits of the 52 bytes of TQ1_0 are: byte m of a run has weights first + m + bytes*n.
struct TritRun {
  size_t byte;
  size_t bytes;
  size_t first;
  size_t trits;  // per byte
};
inline constexpr TritRun kTritRuns[] = {{0, 32, 0, 5}, {32, 16, 160, 5}, {48, 4, 240, 4}};

// The inverse of a scale; 0 where it would not be finite, since every quant is 0 then.
float InverseOfScale(float scale) noexcept;
// 2^(e-128): half the scale that E8M0 stands for, since E2M1 is doubled.
float HalfE8M0(uint8_t e) noexcept;
// For the largest weight of a block. Below 2^-125 the exponent wraps around, as in ggml.
uint8_t ExponentMXFP4(float largest) noexcept;
// Half the value of an unsigned float of 4 + 3 bits.
float HalfUE4M3(uint8_t code) noexcept;
// Half up in the mantissa; limited to 448.
uint8_t ToUE4M3(float value) noexcept;

void QuantizeTQ1_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept;
void QuantizeTQ2_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept;
void QuantizeQ1_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                           const float* imatrix) noexcept;
void QuantizeQ2_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                           const float* imatrix) noexcept;
void QuantizeMXFP4Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept;
void QuantizeNVFP4Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept;

void DequantizeTQ1_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeTQ2_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeQ1_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeQ2_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeMXFP4Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeNVFP4Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeQ8_1(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeQ8_K(const uint8_t* blocks, float* weights, size_t count) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_LOWBIT_BLOCKS_H_
