#include "quant/nonlinear_ref.h"

#include <algorithm>
#include <cmath>

namespace quern::quant {
namespace {

constexpr float kZeroBlock = 1e-15f;

int NearestLevel(float value) {
  int level = 0;
  for (const float bound : kNonlinearBounds) level += !(value < bound);
  return level;
}

// Twice the mean square.
float Sigma2(const float* x, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum * (2.0f / static_cast<float>(n));
}

void ErrorWeights(const float* x, float sigma2, const float* importance, float* weights) {
  for (size_t i = 0; i < kBlock; ++i) {
    const float square = x[i] * x[i];
    weights[i] = importance ? importance[i] * std::sqrt(sigma2 + square) : square;
  }
}

struct Sums {
  float xq = 0;
  float qq = 0;
};

Sums Evaluate(const float* x, const float* weights, float inverse) {
  Sums sums;
  for (size_t i = 0; i < kBlock; ++i) {
    const float q = kNonlinear[NearestLevel(inverse * x[i])];
    sums.xq += weights[i] * q * x[i];
    sums.qq += weights[i] * q * q;
  }
  return sums;
}

// The scale of a block: as the search without min of legacy_ref.cc, on other levels.
float FitScale(const float* x, float sigma2, const float* importance) {
  float weights[kBlock];
  ErrorWeights(x, sigma2, importance, weights);
  float extreme = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (std::fabs(extreme) < kZeroBlock) return 0;
  Sums sums = Evaluate(x, weights, 1 / (-extreme / kNonlinear[0]));
  float scale = sums.qq > 0 ? sums.xq / sums.qq : 0.0f;
  float best = scale * sums.xq;
  for (int step = -kNonlinearSteps; step <= kNonlinearSteps; ++step) {
    sums = Evaluate(x, weights, static_cast<float>(step + kNonlinear[0]) / extreme);
    if (sums.qq > 0 && sums.xq * sums.xq > best * sums.qq) {
      scale = sums.xq / sums.qq;
      best = scale * sums.xq;
    }
  }
  return scale;
}

void StoreLevels(const float* x, float inverse, uint8_t* qs) {
  for (size_t j = 0; j < kBlock / 2; ++j) {
    qs[j] =
        static_cast<uint8_t>(NearestLevel(inverse * x[j]) | NearestLevel(inverse * x[j + 16]) << 4);
  }
}

void LoadLevels(const uint8_t* qs, float scale, float* weights) {
  for (size_t j = 0; j < kBlock / 2; ++j) {
    weights[j] = scale * static_cast<float>(kNonlinear[qs[j] & 15]);
    weights[j + 16] = scale * static_cast<float>(kNonlinear[qs[j] >> 4]);
  }
}

}  // namespace

NonlinearScales QuantizeNonlinearScales(const float* scales) noexcept {
  float extreme = 0;
  for (size_t b = 0; b < 8; ++b) {
    if (std::fabs(scales[b]) > std::fabs(extreme)) extreme = scales[b];
  }
  NonlinearScales result;
  result.d = -extreme / 32;
  const float inverse = InverseOrZero(result.d);
  for (size_t b = 0; b < 8; ++b) {
    result.multiple[b] = std::clamp(NearestInt(inverse * scales[b]), -32, 31);
  }
  return result;
}

void StoreNonlinearScales(const NonlinearScales& scales, uint8_t* block) noexcept {
  Store16(block, F32ToF16(scales.d));
  uint32_t high = 0;
  uint32_t low = 0;
  for (size_t b = 0; b < 8; ++b) {
    const uint32_t stored = static_cast<uint32_t>(scales.multiple[b] + 32);
    high |= stored >> 4 << (2 * b);
    low |= (stored & 15) << (4 * b);
  }
  Store16(block + 2, static_cast<uint16_t>(high));
  std::memcpy(block + 4, &low, sizeof(low));
}

void QuantizeIQ4NLReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept {
  for (size_t i = 0; i < rows * columns; i += kBlock, blocks += kIQ4NLBytes) {
    const float* x = weights + i;
    const float* importance = imatrix ? imatrix + i % columns : nullptr;
    const float scale = FitScale(x, Sigma2(x, kBlock), importance);
    Store16(blocks, F32ToF16(scale));
    StoreLevels(x, InverseOrZero(scale), blocks + 2);
  }
}

void QuantizeIQ4XSReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix) noexcept {
  for (size_t i = 0; i < rows * columns; i += kSuperblock, blocks += kIQ4XSBytes) {
    const float* x = weights + i;
    const float* importance = imatrix ? imatrix + i % columns : nullptr;
    const float sigma2 = Sigma2(x, kSuperblock);
    float scales[8];
    for (size_t b = 0; b < 8; ++b) {
      scales[b] = FitScale(x + kBlock * b, sigma2, importance ? importance + kBlock * b : nullptr);
    }
    const NonlinearScales stored = QuantizeNonlinearScales(scales);
    StoreNonlinearScales(stored, blocks);
    for (size_t b = 0; b < 8; ++b) {
      const float scale = stored.d * static_cast<float>(stored.multiple[b]);
      StoreLevels(x + kBlock * b, InverseOrZero(scale), blocks + 8 + 16 * b);
    }
  }
}

void DequantizeIQ4NLReference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kBlock, blocks += kIQ4NLBytes) {
    LoadLevels(blocks + 2, F16ToF32(Load16(blocks)), weights + i);
  }
}

void DequantizeIQ4XSReference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kSuperblock, blocks += kIQ4XSBytes) {
    const float d = F16ToF32(Load16(blocks));
    const int high = Load16(blocks + 2);
    for (size_t b = 0; b < 8; ++b) {
      const int low = blocks[4 + b / 2] >> (b % 2 * 4) & 15;
      const float scale = d * static_cast<float>((low | (high >> (2 * b) & 3) << 4) - 32);
      LoadLevels(blocks + 8 + 16 * b, scale, weights + i + kBlock * b);
    }
  }
}

}  // namespace quern::quant
