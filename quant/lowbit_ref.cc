#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/blocks.h"
#include "quant/codecs.h"
#include "quant/lowbit_blocks.h"

namespace quern::quant {
namespace {

constexpr size_t kQ8_1Bytes = 36;
constexpr size_t kQ8KBytes = 292;

constexpr int8_t kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// NaN takes no part.
float LargestMagnitude(const float* x, size_t n) {
  float largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

// Half away from zero, of |value| < 1.5; NaN is 0.
int RoundToTrit(float value) { return 1 + (value >= 0.5f) - (value <= -0.5f); }

// The largest e with 2^e <= value as float sees log2: just below a power of two, log2 rounds up.
int FloorLog2(float value) {
  // Only the last 2^6 mantissas can be that close: a float has 17 bits behind the point or more.
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const bool normal = bits >= 0x00800000;
  if (normal && (bits & 0x007FFFFF) < 0x007FFF00) return static_cast<int>(bits >> 23) - 127;
  return static_cast<int>(std::floor(static_cast<float>(std::log2(static_cast<double>(value)))));
}

// The nearest value, the first of several. A value of the other sign is never nearer than zero, so
// that magnitudes are compared.
uint8_t NearestE2M1(float x, float scale) {
  const float size = std::fabs(x);
  int best = 0;
  float best_error = size;
  for (int i = 1; i < 8; ++i) {
    const float error = std::fabs(static_cast<float>(kE2M1[i]) * scale - size);
    if (error < best_error) {
      best = i;
      best_error = error;
    }
  }
  return static_cast<uint8_t>(best != 0 && x < 0 ? best + 8 : best);
}

// 2n weights in n bytes: byte j has quants j and n+j.
void QuantizeE2M1(const float* x, size_t n, float scale, uint8_t* qs) {
  for (size_t j = 0; j < n; ++j) {
    qs[j] = static_cast<uint8_t>(NearestE2M1(x[j], scale) | NearestE2M1(x[n + j], scale) << 4);
  }
}
void DequantizeE2M1(const uint8_t* qs, size_t n, float scale, float* weights) {
  for (size_t j = 0; j < n; ++j) {
    weights[j] = static_cast<float>(kE2M1[qs[j] & 15]) * scale;
    weights[n + j] = static_cast<float>(kE2M1[qs[j] >> 4]) * scale;
  }
}

}  // namespace

float InverseOfScale(float scale) noexcept {
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

float HalfE8M0(uint8_t e) noexcept {
  const uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t{e} - 1) << 23;
  return std::bit_cast<float>(bits);
}

float HalfUE4M3(uint8_t code) noexcept {
  if (code == 0 || code == 127) return 0;
  const int exponent = code >> 3 & 15;
  const float mantissa = static_cast<float>(code & 7);
  const float value =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1.0f + mantissa / 8.0f, exponent - 7);
  return value * 0.5f;
}

uint8_t ToUE4M3(float value) noexcept {
  constexpr uint8_t kLargest = 126;
  if (!(value > 0)) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(std::min(value, 448.0f));
  int exponent = static_cast<int>(bits >> 23) - 127 + 7;
  if (exponent <= 0) return static_cast<uint8_t>(std::min(7, static_cast<int>(value * 512 + 0.5f)));
  if (exponent >= 15) return kLargest;
  uint32_t mantissa = (bits >> 20 & 7) + (bits >> 19 & 1);
  if (mantissa > 7) {
    mantissa = 0;
    ++exponent;
  }
  return exponent >= 15 ? kLargest
                        : static_cast<uint8_t>(exponent << 3 | static_cast<int>(mantissa));
}

uint8_t ExponentMXFP4(float largest) noexcept {
  const int exponent = largest > 0 && std::isfinite(largest) ? FloorLog2(largest) - 2 + 127 : 0;
  return static_cast<uint8_t>(exponent);
}

void QuantizeTQ1_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kTernary, blocks += kTQ1Bytes) {
    const float* x = weights + i;
    const float scale = LargestMagnitude(x, kTernary);
    const float inverse = InverseOfScale(scale);
    for (const TritRun& run : kTritRuns) {
      for (size_t m = 0; m < run.bytes; ++m) {
        int value = 0;
        for (size_t n = 0; n < 5; ++n) {
          value *= 3;
          if (n < run.trits) value += RoundToTrit(x[run.first + m + run.bytes * n] * inverse);
        }
        blocks[run.byte + m] = static_cast<uint8_t>((value * 256 + 242) / 243);
      }
    }
    Store16(blocks + 52, F32ToF16(scale));
  }
}

void DequantizeTQ1_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kTernary, blocks += kTQ1Bytes) {
    const float scale = F16ToF32(Load16(blocks + 52));
    for (const TritRun& run : kTritRuns) {
      for (size_t m = 0; m < run.bytes; ++m) {
        uint8_t rest = blocks[run.byte + m];
        for (size_t n = 0; n < run.trits; ++n) {
          const int trit = rest * 3 >> 8;
          weights[i + run.first + m + run.bytes * n] = static_cast<float>(trit - 1) * scale;
          rest = static_cast<uint8_t>(rest * 3);
        }
      }
    }
  }
}

void QuantizeTQ2_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kTernary, blocks += kTQ2Bytes) {
    const float scale = LargestMagnitude(weights + i, kTernary);
    const float inverse = InverseOfScale(scale);
    for (size_t j = 0; j < 64; ++j) {
      const float* x = weights + i + j / 32 * 128 + j % 32;
      int bits = 0;
      for (size_t n = 0; n < 4; ++n) bits |= RoundToTrit(x[32 * n] * inverse) << (2 * n);
      blocks[j] = static_cast<uint8_t>(bits);
    }
    Store16(blocks + 64, F32ToF16(scale));
  }
}

void DequantizeTQ2_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kTernary, blocks += kTQ2Bytes) {
    const float scale = F16ToF32(Load16(blocks + 64));
    for (size_t j = 0; j < kTernary; ++j) {
      const int q = blocks[j / 128 * 32 + j % 32] >> (j % 128 / 32 * 2) & 3;
      weights[i + j] = static_cast<float>(q - 1) * scale;
    }
  }
}

void QuantizeQ1_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                           const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kQ1Weights, blocks += kBitBytes) {
    const float* x = weights + i;
    float sum = 0;
    for (size_t j = 0; j < kQ1Weights; ++j) sum += std::fabs(x[j]);
    Store16(blocks, F32ToF16(sum / static_cast<float>(kQ1Weights)));
    for (size_t j = 0; j < kQ1Weights / 8; ++j) {
      int bits = 0;
      for (size_t k = 0; k < 8; ++k) bits |= (x[8 * j + k] >= 0) << k;
      blocks[2 + j] = static_cast<uint8_t>(bits);
    }
  }
}

void DequantizeQ1_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kQ1Weights, blocks += kBitBytes) {
    const float scale = F16ToF32(Load16(blocks));
    for (size_t j = 0; j < kQ1Weights; ++j) {
      weights[i + j] = blocks[2 + j / 8] >> (j % 8) & 1 ? scale : -scale;
    }
  }
}

void QuantizeQ2_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                           const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kQ2Weights, blocks += kBitBytes) {
    const float* x = weights + i;
    const float scale = LargestMagnitude(x, kQ2Weights);
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    Store16(blocks, F32ToF16(scale));
    for (size_t j = 0; j < kQ2Weights / 4; ++j) {
      int bits = 0;
      for (size_t k = 0; k < 4; ++k) {
        // Out of the range of int only where the inverse is infinite: 0, as from ggml.
        const float rounded = std::round(x[4 * j + k] * inverse);
        const int q = std::fabs(rounded) <= 2 ? static_cast<int>(rounded) + 1 : 0;
        bits |= std::clamp(q, 0, 3) << (2 * k);
      }
      blocks[2 + j] = static_cast<uint8_t>(bits);
    }
  }
}

void DequantizeQ2_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kQ2Weights, blocks += kBitBytes) {
    const float scale = F16ToF32(Load16(blocks));
    for (size_t j = 0; j < kQ2Weights; ++j) {
      const int q = blocks[2 + j / 4] >> (j % 4 * 2) & 3;
      weights[i + j] = static_cast<float>(q - 1) * scale;
    }
  }
}

void QuantizeMXFP4Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kBlock, blocks += kMxBytes) {
    const float largest = LargestMagnitude(weights + i, kBlock);
    blocks[0] = ExponentMXFP4(largest);
    QuantizeE2M1(weights + i, kBlock / 2, HalfE8M0(blocks[0]), blocks + 1);
  }
}

void DequantizeMXFP4Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kBlock, blocks += kMxBytes) {
    DequantizeE2M1(blocks + 1, kBlock / 2, HalfE8M0(blocks[0]), weights + i);
  }
}

void QuantizeNVFP4Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kNvWeights, blocks += kNvBytes) {
    for (size_t b = 0; b < 4; ++b) {
      const float* x = weights + i + kNvBlock * b;
      blocks[b] = ToUE4M3(LargestMagnitude(x, kNvBlock) / 6.0f);
      QuantizeE2M1(x, kNvBlock / 2, HalfUE4M3(blocks[b]), blocks + 4 + 8 * b);
    }
  }
}

void DequantizeNVFP4Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kNvWeights, blocks += kNvBytes) {
    for (size_t b = 0; b < 4; ++b) {
      DequantizeE2M1(blocks + 4 + 8 * b, kNvBlock / 2, HalfUE4M3(blocks[b]),
                     weights + i + kNvBlock * b);
    }
  }
}

void DequantizeQ8_1(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kBlock, blocks += kQ8_1Bytes) {
    const float scale = F16ToF32(Load16(blocks));
    for (size_t j = 0; j < kBlock; ++j) {
      weights[i + j] = scale * static_cast<float>(static_cast<int8_t>(blocks[4 + j]));
    }
  }
}

void DequantizeQ8_K(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kTernary, blocks += kQ8KBytes) {
    float scale;
    std::memcpy(&scale, blocks, sizeof(scale));
    for (size_t j = 0; j < kTernary; ++j) {
      weights[i + j] = scale * static_cast<float>(static_cast<int8_t>(blocks[4 + j]));
    }
  }
}

// Elementwise loops, which compilers make vectors of.
constinit const Codec kQ8_1Codec = {TensorType::kQ8_1, false,   nullptr,
                                    DequantizeQ8_1,    nullptr, DequantizeQ8_1};
constinit const Codec kQ8_KCodec = {TensorType::kQ8_K, false,   nullptr,
                                    DequantizeQ8_K,    nullptr, DequantizeQ8_K};

}  // namespace quern::quant
