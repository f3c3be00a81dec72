#include "quant/kquant_ref.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "quant/kquant_scales.h"

namespace quern::quant {
namespace {

template <class Block>
float Sigma2(const float* x) {
  float sum = 0;
  for (size_t i = 0; i < kSuperblock; ++i) sum += x[i] * x[i];
  return KTraits<Block>::kSigmaFactor * sum / static_cast<float>(kSuperblock);
}

void ImportanceWeights(float sigma2, size_t n, const float* x, const float* importance,
                       float* weights) {
  for (size_t i = 0; i < n; ++i) weights[i] = importance[i] * std::sqrt(sigma2 + x[i] * x[i]);
}

// Weights of one block for types with a min, without an importance matrix.
template <class Block>
void PlainWeights(const float* x, float* weights) {
  constexpr size_t kSub = KTraits<Block>::kSub;
  float rms = 0;
  if constexpr (KTraits<Block>::kRmsWeights) {
    float sum = 0;
    for (size_t i = 0; i < kSub; ++i) sum += x[i] * x[i];
    rms = std::sqrt(sum / static_cast<float>(kSub));
  }
  for (size_t i = 0; i < kSub; ++i) weights[i] = rms + std::fabs(x[i]);
}

float Sum(size_t n, const float* values) {
  float sum = 0;
  for (size_t i = 0; i < n; ++i) sum += values[i];
  return sum;
}

template <class Block>
void SearchWithMin(const float* x, const float* importance, SubFits* fits, uint8_t* q) {
  using Traits = KTraits<Block>;
  const float sigma2 = importance ? Sigma2<Block>(x) : 0.f;
  for (size_t j = 0; j < kSubCount<Block>; ++j) {
    const float* sub = x + j * Traits::kSub;
    float weights[Traits::kSub];
    if (importance) {
      ImportanceWeights(sigma2, Traits::kSub, sub, importance + j * Traits::kSub, weights);
    } else {
      PlainWeights<Block>(sub, weights);
    }
    fits->sum_weights[j] = Sum(Traits::kSub, weights);
    const ScaleMin fit = FitScaleMin(importance ? Traits::kWeighted : Traits::kPlain, Traits::kSub,
                                     sub, weights, q + j * Traits::kSub);
    fits->scale[j] = fit.scale;
    fits->min[j] = fit.min;
  }
}

void SearchQ3(const float* x, const float* importance, SubFits* fits, uint8_t* q) {
  const float sigma2 = importance ? Sigma2<Q3KBlock>(x) : 0.f;
  for (size_t j = 0; j < 16; ++j) {
    const float* sub = x + 16 * j;
    if (importance) {
      float weights[16];
      ImportanceWeights(sigma2, 16, sub, importance + 16 * j, weights);
      fits->sum_weights[j] = Sum(16, weights);
      fits->scale[j] = FitScale(KTraits<Q3KBlock>::kHalf, 16, sub, weights, q + 16 * j);
    } else {
      fits->scale[j] = FitScaleByDescent(KTraits<Q3KBlock>::kHalf, 16, sub, q + 16 * j);
    }
  }
}

// The importance itself is the weight here.
void SearchQ6(const float* x, const float* importance, SubFits* fits, uint8_t* q) {
  for (size_t j = 0; j < 16; ++j) {
    const float* sub = x + 16 * j;
    float squares[16];
    for (size_t i = 0; i < 16; ++i) squares[i] = sub[i] * sub[i];
    const float* weights = importance ? importance + 16 * j : squares;
    fits->scale[j] = FitScale(KTraits<Q6KBlock>::kHalf, 16, sub, weights, q + 16 * j);
  }
}

// Quants for the scales that a reader will see.
template <class Block>
void Requantize(const float* x, const SubScales& scales, uint8_t* q) {
  using Traits = KTraits<Block>;
  for (size_t j = 0; j < kSubCount<Block>; ++j) {
    const float d = scales.scale[j];
    if (d == 0) continue;
    for (size_t i = j * Traits::kSub; i < (j + 1) * Traits::kSub; ++i) {
      if constexpr (Traits::kHasMin) {
        const int l = NearestInt((x[i] + scales.min[j]) / d);
        q[i] = static_cast<uint8_t>(std::clamp(l, 0, Traits::kPlain.levels));
      } else {
        const int l = std::clamp(NearestInt(x[i] / d), -Traits::kHalf, Traits::kHalf - 1);
        q[i] = static_cast<uint8_t>(l + Traits::kHalf);
      }
    }
  }
}

}  // namespace

template <class Block>
void QuantizeSuperblock(const float* x, const float* importance, Block* block) noexcept {
  SubFits fits;
  uint8_t q[kSuperblock];
  if constexpr (KTraits<Block>::kHasMin) {
    SearchWithMin<Block>(x, importance, &fits, q);
  } else if constexpr (std::is_same_v<Block, Q3KBlock>) {
    SearchQ3(x, importance, &fits, q);
  } else {
    SearchQ6(x, importance, &fits, q);
    if (NoScale(fits)) {
      std::memset(block, 0, sizeof(*block));
      return;
    }
  }
  QuantizeScales(fits, importance != nullptr, block);
  SubScales scales;
  DecodeScales(*block, &scales);
  Requantize<Block>(x, scales, q);
  PackQuants(q, block);
}

template <class Block>
void QuantizeKReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                        const float* imatrix) noexcept {
  Block* block = reinterpret_cast<Block*>(blocks);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns; column += kSuperblock) {
      QuantizeSuperblock(weights, imatrix ? imatrix + column : nullptr, block++);
      weights += kSuperblock;
    }
  }
}

template <class Block>
void DequantizeKReference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  using Traits = KTraits<Block>;
  const Block* block = reinterpret_cast<const Block*>(blocks);
  for (size_t done = 0; done < count; done += kSuperblock, weights += kSuperblock, ++block) {
    SubScales scales;
    DecodeScales(*block, &scales);
    uint8_t q[kSuperblock];
    UnpackQuants(*block, q);
    for (size_t i = 0; i < kSuperblock; ++i) {
      const size_t j = i / Traits::kSub;
      if constexpr (Traits::kHasMin) {
        weights[i] = scales.scale[j] * static_cast<float>(q[i]) - scales.min[j];
      } else {
        weights[i] = scales.scale[j] * static_cast<float>(static_cast<int>(q[i]) - Traits::kHalf);
      }
    }
  }
}

#define QUERN_INSTANTIATE(Block)                                                        \
  template void QuantizeSuperblock<Block>(const float*, const float*, Block*) noexcept; \
  template void QuantizeKReference<Block>(const float*, uint8_t*, size_t, size_t,       \
                                          const float*) noexcept;                       \
  template void DequantizeKReference<Block>(const uint8_t*, float*, size_t) noexcept;
QUERN_INSTANTIATE(Q2KBlock)
QUERN_INSTANTIATE(Q3KBlock)
QUERN_INSTANTIATE(Q4KBlock)
QUERN_INSTANTIATE(Q5KBlock)
QUERN_INSTANTIATE(Q6KBlock)
#undef QUERN_INSTANTIATE

}  // namespace quern::quant
