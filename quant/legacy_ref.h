// Internal to quant/: the definition of the codecs Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
//
// Without an importance matrix a block's scale (and min) come from its extremes; with one, Q4_* and
// Q5_* search the scale that minimises the weighted squared error, with the weights
// importance * sqrt(mean square of the row + w^2), and Q8_0 ignores it. Layouts: blocks.h.
//
// Weights that are not finite give a fixed result too: NaN takes no part in the extremes, and a
// quant that is no number within int32 (inf * 0, subnormal * (1/subnormal) = inf) is stored as 0,
// before its sign or zero point is looked at.
#ifndef QUERN_QUANT_LEGACY_REF_H_
#define QUERN_QUANT_LEGACY_REF_H_

#include <cstddef>
#include <cstdint>

#include "quant/blocks.h"

namespace quern::quant {

// Signatures of quant/codec.h, for one of the four layouts of blocks.h.
template <NibbleLayout kLayout>
void QuantizeNibblesReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                              const float* imatrix) noexcept;
template <NibbleLayout kLayout>
void DequantizeNibblesReference(const uint8_t* blocks, float* weights, size_t count) noexcept;

void QuantizeQ8_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                           const float* imatrix) noexcept;
void DequantizeQ8_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;

// What the vector kernels share with the definition.

// Sum of squares in the order of the row, divided by its length.
float MeanSquare(const float* row, size_t columns) noexcept;

// The weighted search: candidate k of the scale without min is
//   -(2^(bits-1) + 0.1 k) / extreme, k = -9 .. 9, and of the scale with min
//   (max_quant - 0.9 + 0.05 k) / (max - min), k = 0 .. 36.
inline constexpr int kScaleSteps = 9;
inline constexpr int kScaleMinSteps = 36;
// Blocks whose largest weight is below this are stored as zeros by the search without min.
inline constexpr float kZeroBlock = 1e-15f;

inline float ScaleCandidate(int zero_point, int step) {
  return -(static_cast<float>(zero_point) + 0.1f * static_cast<float>(step));
}
inline float ScaleMinCandidate(int max_quant, int step) {
  return -0.9f + 0.05f * static_cast<float>(step) + static_cast<float>(max_quant);
}

}  // namespace quern::quant

#endif  // QUERN_QUANT_LEGACY_REF_H_
