#include "quant/float_ref.h"

#include <cstring>

#include "quant/blocks.h"

namespace quern::quant {

void CopyF32(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
             const float* /*imatrix*/) noexcept {
  if (rows * columns > 0) std::memcpy(blocks, weights, rows * columns * sizeof(float));
}

void CopyF32Back(const uint8_t* blocks, float* weights, size_t count) noexcept {
  if (count > 0) std::memcpy(weights, blocks, count * sizeof(float));
}

void EncodeF16Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                        const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; ++i) Store16(blocks + 2 * i, F32ToF16(weights[i]));
}

void DecodeF16Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; ++i) weights[i] = F16ToF32(Load16(blocks + 2 * i));
}

void EncodeBF16Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                         const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; ++i) Store16(blocks + 2 * i, F32ToBF16(weights[i]));
}

void DecodeBF16Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; ++i) weights[i] = BF16ToF32(Load16(blocks + 2 * i));
}

void DecodeF64Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; ++i) {
    double value;
    std::memcpy(&value, blocks + 8 * i, sizeof(value));
    weights[i] = static_cast<float>(value);  // IEEE 754: rounds to nearest even
  }
}

}  // namespace quern::quant
