// Internal to quant/: layouts and the definition of IQ4_NL and IQ4_XS, whose 16 levels are not
// evenly spaced.
//
// Contract: as quant/codec.h. NaN takes the highest level. Source: ggml's src/ggml-quants.c,
// v0.5.0.
#ifndef QUERN_QUANT_NONLINEAR_REF_H_
#define QUERN_QUANT_NONLINEAR_REF_H_

#include <cstddef>
#include <cstdint>

#include "quant/blocks.h"
#include "quant/kquant_blocks.h"

namespace quern::quant {

inline constexpr int kNonlinearLevels = 16;
inline constexpr int8_t kNonlinear[kNonlinearLevels] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                        1,    13,   25,  38,  53,  69,  89,  113};

// The level nearest to a value is the number of these that are <= value. They are the means of
// neighbouring levels; a difference of a value near one of them to either level is exact in float,
// so that comparing the differences, as llama.cpp does, comes to the same.
inline constexpr float kNonlinearBounds[kNonlinearLevels - 1] = {
    -115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101};

// IQ4_NL: 32 weights, 18 bytes, 4.5 bpw.            w = d * kNonlinear[q]
//  offset size field     content
//       0    2 d         f16
//       2   16 qs        byte j: low nibble q[j], high nibble q[16+j]
inline constexpr size_t kIQ4NLBytes = 18;
// IQ4_XS: 256 weights = 8 blocks of 32; 136 bytes, 4.25 bpw.   w = d * (s-32) * kNonlinear[q]
//       0    2 d         f16
//       2    2 scales_h  bits 2b,2b+1 = bits 4,5 of s[b]
//       4    4 scales_l  byte j: low nibble s[2j] & 15, high nibble s[2j+1] & 15
//       8  128 qs        16 bytes per block, as IQ4_NL
inline constexpr size_t kIQ4XSBytes = 136;

// The search tries the inverse scales (k - 127) / extreme, k = -7..7, after 127 / extreme.
inline constexpr int kNonlinearSteps = 7;

// d and the multiples of it that stand for the scales of a superblock.
struct NonlinearScales {
  float d;
  int multiple[8];  // s - 32
};
NonlinearScales QuantizeNonlinearScales(const float* scales) noexcept;
void StoreNonlinearScales(const NonlinearScales& scales, uint8_t* block) noexcept;

// Inverse of what a block is multiplied with; 0 for 0.
inline float InverseOrZero(float scale) { return scale != 0 ? 1 / scale : 0.0f; }

// Signatures of quant/codec.h.
void QuantizeIQ4NLReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept;
void QuantizeIQ4XSReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept;
void DequantizeIQ4NLReference(const uint8_t* blocks, float* weights, size_t count) noexcept;
void DequantizeIQ4XSReference(const uint8_t* blocks, float* weights, size_t count) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_NONLINEAR_REF_H_
