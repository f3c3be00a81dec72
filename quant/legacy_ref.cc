#include "quant/legacy_ref.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quern::quant {
namespace {

// Cuts to an integer; what does not fit in int32, NaN included, is 0.
int32_t Truncate(float value) {
  return std::fabs(value) < 0x1p31f ? static_cast<int32_t>(value) : 0;
}

// A fitted block: w = scale * (q - zero point) + min, with quants as they are stored.
struct BlockFit {
  float scale;
  float min;  // unused where the layout has none
  uint8_t quants[kBlock];
};

void StoreBlock(const NibbleLayout& layout, const BlockFit& fit, uint8_t* block) {
  Store16(block, F32ToF16(fit.scale));
  if (layout.has_min) Store16(block + layout.m(), F32ToF16(fit.min));
  uint32_t high_bits = 0;
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const uint32_t low = fit.quants[i];
    const uint32_t high = fit.quants[i + 16];
    block[layout.qs() + i] = static_cast<uint8_t>((low & 15) | (high & 15) << 4);
    high_bits |= (low >> 4) << i | (high >> 4) << (i + 16);
  }
  if (layout.has_qh()) std::memcpy(block + layout.qh(), &high_bits, sizeof(high_bits));
}

float Reciprocal(float value) { return value != 0 ? 1.0f / value : 0.0f; }

// The first of the weights with the largest absolute value; 0 if all are zero or NaN.
float Extreme(const float* x) {
  float extreme = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

// Half is added and the sum cut, after the zero point has made every quant positive.
uint8_t RoundToQuant(const NibbleLayout& layout, float value) {
  const float half_up = static_cast<float>(layout.zero_point()) + 0.5f;
  return static_cast<uint8_t>(std::clamp(Truncate(value + half_up), 0, layout.max_quant()));
}

BlockFit FitExtreme(const NibbleLayout& layout, const float* x) {
  BlockFit fit{};
  fit.scale = Extreme(x) / -static_cast<float>(layout.zero_point());
  const float inverse = Reciprocal(fit.scale);
  for (size_t i = 0; i < kBlock; ++i) fit.quants[i] = RoundToQuant(layout, x[i] * inverse);
  return fit;
}

BlockFit FitRange(const NibbleLayout& layout, const float* x) {
  BlockFit fit{};
  float min = std::numeric_limits<float>::max();
  float max = -min;
  for (size_t i = 0; i < kBlock; ++i) {
    if (x[i] < min) min = x[i];
    if (x[i] > max) max = x[i];
  }
  fit.min = min;
  fit.scale = (max - min) / static_cast<float>(layout.max_quant());
  const float inverse = Reciprocal(fit.scale);
  for (size_t i = 0; i < kBlock; ++i) fit.quants[i] = RoundToQuant(layout, (x[i] - min) * inverse);
  return fit;
}

// The search without min. For quants l = round(inverse * x), the scale that minimises
// sum w (x - scale l)^2 is sum(w x l) / sum(w l l), and it lowers the error by
// sum(w x l)^2 / sum(w l l): the candidate with the largest such gain wins.
struct ScaleSearch {
  const float* x;
  const float* w;
  int zero_point;

  int Quant(float inverse, size_t i) const {
    return std::clamp(NearestInt(inverse * x[i]), -zero_point, zero_point - 1);
  }

  struct Sums {
    float xl = 0;
    float ll = 0;
  };
  Sums Evaluate(float inverse) const {
    Sums sums;
    for (size_t i = 0; i < kBlock; ++i) {
      const float l = static_cast<float>(Quant(inverse, i));
      sums.xl += w[i] * x[i] * l;
      sums.ll += w[i] * l * l;
    }
    return sums;
  }
};

BlockFit FitWeightedScale(const NibbleLayout& layout, const float* x, const float* w) {
  BlockFit fit{};
  const float extreme = Extreme(x);
  if (std::fabs(extreme) < kZeroBlock) return fit;
  const ScaleSearch search{x, w, layout.zero_point()};
  float best_inverse = ScaleCandidate(search.zero_point, 0) / extreme;
  ScaleSearch::Sums sums = search.Evaluate(best_inverse);
  fit.scale = sums.ll != 0 ? sums.xl / sums.ll : 0.0f;
  float best_gain = fit.scale * sums.xl;
  for (int step = -kScaleSteps; step <= kScaleSteps; ++step) {
    if (step == 0) continue;
    const float inverse = ScaleCandidate(search.zero_point, step) / extreme;
    sums = search.Evaluate(inverse);
    if (sums.ll > 0 && sums.xl * sums.xl > best_gain * sums.ll) {
      best_inverse = inverse;
      fit.scale = sums.xl / sums.ll;
      best_gain = fit.scale * sums.xl;
    }
  }
  for (size_t i = 0; i < kBlock; ++i) {
    fit.quants[i] = static_cast<uint8_t>(search.Quant(best_inverse, i) + search.zero_point);
  }
  return fit;
}

// The search with min. Each candidate rounds x to quants relative to the best min so far, solves
// the weighted least squares for scale and min, and is measured by its error.
struct ScaleMinSearch {
  const float* x;
  const float* w;
  int max_quant;
  float sum_w = 0;
  float sum_x = 0;

  float Quant(float inverse, float min, size_t i) const {
    return static_cast<float>(std::clamp(NearestInt(inverse * (x[i] - min)), 0, max_quant));
  }

  // Error of scale and min with the quants that `inverse` and `quant_min` give.
  float Error(float scale, float min, float inverse, float quant_min) const {
    float error = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      const float difference = scale * Quant(inverse, quant_min, i) + min - x[i];
      error += w[i] * (difference * difference);
    }
    return error;
  }

  // False where the quants do not determine both scale and min.
  bool Solve(float inverse, float quant_min, float& scale, float& min) const {
    float sum_l = 0;
    float sum_ll = 0;
    float sum_xl = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      const float l = Quant(inverse, quant_min, i);
      sum_l += w[i] * l;
      sum_ll += w[i] * l * l;
      sum_xl += w[i] * l * x[i];
    }
    const float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0)) return false;
    scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    min = (sum_ll * sum_x - sum_l * sum_xl) / determinant;
    if (min > 0) {  // a min may only lower the block
      min = 0;
      scale = sum_xl / sum_ll;
    }
    return true;
  }
};

BlockFit FitWeightedRange(const NibbleLayout& layout, const float* x, const float* w) {
  BlockFit fit{};
  ScaleMinSearch search{x, w, layout.max_quant()};
  float min = x[0];
  float max = x[0];
  search.sum_w = w[0];
  search.sum_x = w[0] * x[0];
  for (size_t i = 1; i < kBlock; ++i) {
    if (x[i] < min) min = x[i];
    if (x[i] > max) max = x[i];
    search.sum_w += w[i];
    search.sum_x += w[i] * x[i];
  }
  if (min > 0) min = 0;
  fit.min = min;
  if (max <= min) return fit;

  float best_inverse = static_cast<float>(search.max_quant) / (max - min);
  float best_quant_min = min;
  fit.scale = 1 / best_inverse;
  float best_error = search.Error(fit.scale, min, best_inverse, min);
  for (int step = 0; step <= kScaleMinSteps; ++step) {
    const float quant_min = fit.min;  // moves with every improvement
    const float inverse = ScaleMinCandidate(search.max_quant, step) / (max - quant_min);
    float scale;
    if (!search.Solve(inverse, quant_min, scale, min)) continue;
    const float error = search.Error(scale, min, inverse, quant_min);
    if (error < best_error) {
      best_error = error;
      best_inverse = inverse;
      best_quant_min = quant_min;
      fit.scale = scale;
      fit.min = min;
    }
  }
  for (size_t i = 0; i < kBlock; ++i) {
    fit.quants[i] = static_cast<uint8_t>(search.Quant(best_inverse, best_quant_min, i));
  }
  return fit;
}

void QuantizeRow(const NibbleLayout& layout, const float* row, size_t columns, const float* imatrix,
                 uint8_t* blocks) {
  const float mean_square = imatrix ? MeanSquare(row, columns) : 0;
  for (size_t column = 0; column < columns; column += kBlock, blocks += layout.bytes()) {
    const float* x = row + column;
    if (!imatrix) {
      StoreBlock(layout, layout.has_min ? FitRange(layout, x) : FitExtreme(layout, x), blocks);
      continue;
    }
    float w[kBlock];
    for (size_t i = 0; i < kBlock; ++i) {
      w[i] = imatrix[column + i] * std::sqrt(mean_square + x[i] * x[i]);
    }
    StoreBlock(layout,
               layout.has_min ? FitWeightedRange(layout, x, w) : FitWeightedScale(layout, x, w),
               blocks);
  }
}

void DequantizeBlock(const NibbleLayout& layout, const uint8_t* block, float* weights) {
  const float scale = F16ToF32(Load16(block));
  const float min = layout.has_min ? F16ToF32(Load16(block + layout.m())) : 0;
  uint32_t high_bits = 0;
  if (layout.has_qh()) std::memcpy(&high_bits, block + layout.qh(), sizeof(high_bits));
  for (size_t i = 0; i < kBlock; ++i) {
    const uint8_t pair = block[layout.qs() + i % 16];
    int quant = i < 16 ? pair & 15 : pair >> 4;
    quant |= static_cast<int>(high_bits >> i & 1) << 4;
    const float product = static_cast<float>(quant - layout.zero_point()) * scale;
    weights[i] = layout.has_min ? product + min : product;
  }
}

}  // namespace

float MeanSquare(const float* row, size_t columns) noexcept {
  float sum = 0;
  for (size_t i = 0; i < columns; ++i) sum += row[i] * row[i];
  return sum / static_cast<float>(columns);
}

template <NibbleLayout kLayout>
void QuantizeNibblesReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                              const float* imatrix) noexcept {
  const size_t row_bytes = columns / kBlock * kLayout.bytes();
  for (size_t row = 0; row < rows; ++row) {
    QuantizeRow(kLayout, weights + row * columns, columns, imatrix, blocks + row * row_bytes);
  }
}

template <NibbleLayout kLayout>
void DequantizeNibblesReference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kBlock, blocks += kLayout.bytes()) {
    DequantizeBlock(kLayout, blocks, weights + i);
  }
}

#define QUERN_INSTANTIATE(layout)                                                        \
  template void QuantizeNibblesReference<layout>(const float*, uint8_t*, size_t, size_t, \
                                                 const float*) noexcept;                 \
  template void DequantizeNibblesReference<layout>(const uint8_t*, float*, size_t) noexcept
QUERN_INSTANTIATE(kQ4_0Layout);
QUERN_INSTANTIATE(kQ4_1Layout);
QUERN_INSTANTIATE(kQ5_0Layout);
QUERN_INSTANTIATE(kQ5_1Layout);
#undef QUERN_INSTANTIATE

void QuantizeQ8_0Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                           const float* /*imatrix*/) noexcept {
  for (size_t i = 0; i < rows * columns; i += kBlock, blocks += kQ8_0Bytes) {
    const float* x = weights + i;
    const float scale = std::fabs(Extreme(x)) / 127.0f;
    const float inverse = Reciprocal(scale);
    Store16(blocks, F32ToF16(scale));
    for (size_t j = 0; j < kBlock; ++j) {
      // Half away from zero, as roundf.
      blocks[kQ8_0Quants + j] = static_cast<uint8_t>(Truncate(std::round(x[j] * inverse)));
    }
  }
}

void DequantizeQ8_0Reference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  for (size_t i = 0; i < count; i += kBlock, blocks += kQ8_0Bytes) {
    const float scale = F16ToF32(Load16(blocks));
    for (size_t j = 0; j < kBlock; ++j) {
      weights[i + j] = static_cast<float>(static_cast<int8_t>(blocks[kQ8_0Quants + j])) * scale;
    }
  }
}

}  // namespace quern::quant
