#include "quant/kquant_scales.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/blocks.h"

namespace quern::quant {
namespace {

float LoadF16(const uint8_t* bytes) { return F16ToF32(Load16(bytes)); }
void StoreF16(uint8_t* bytes, float value) { Store16(bytes, F32ToF16(value)); }

// The largest value, at least 0.
float MaxOf(size_t n, const float* values) {
  float max = 0;
  for (size_t j = 0; j < n; ++j) {
    if (values[j] > max) max = values[j];
  }
  return max;
}

// The value of largest magnitude with its sign, the first of equals.
float ExtremeOf(const float* values) {
  float extreme = 0;
  for (int j = 0; j < 16; ++j) {
    if (std::fabs(values[j]) > std::fabs(extreme)) extreme = values[j];
  }
  return extreme;
}

template <class Block>
void QuantizeScales6Bit(const SubFits& fits, bool weighted, Block* block) {
  constexpr size_t kN = 8;
  uint8_t scales[kN];
  uint8_t mins[kN];
  if (weighted) {
    StoreF16(block->d, FitPositiveScale(63, kN, fits.scale, fits.sum_weights, scales));
    StoreF16(block->dmin, FitPositiveScale(63, kN, fits.min, fits.sum_weights, mins));
  } else {
    const float max_scale = MaxOf(kN, fits.scale);
    const float max_min = MaxOf(kN, fits.min);
    const float inverse_scale = max_scale > 0 ? 63.f / max_scale : 0.f;
    const float inverse_min = max_min > 0 ? 63.f / max_min : 0.f;
    for (size_t j = 0; j < kN; ++j) {
      // A byte before it is limited: a negative scale becomes 63.
      scales[j] =
          std::min<uint8_t>(63, static_cast<uint8_t>(NearestInt(inverse_scale * fits.scale[j])));
      mins[j] = std::min<uint8_t>(63, static_cast<uint8_t>(NearestInt(inverse_min * fits.min[j])));
    }
    StoreF16(block->d, max_scale / 63.f);
    StoreF16(block->dmin, max_min / 63.f);
  }
  Pack6Bit(scales, mins, block->scales);
}

template <class Block>
void DecodeScales6Bit(const Block& block, SubScales* out) {
  const float d = LoadF16(block.d);
  const float dmin = LoadF16(block.dmin);
  uint8_t scales[8];
  uint8_t mins[8];
  Unpack6Bit(block.scales, scales, mins);
  for (int j = 0; j < 8; ++j) {
    out->scale[j] = d * static_cast<float>(scales[j]);
    out->min[j] = dmin * static_cast<float>(mins[j]);
  }
}

// One 4-bit field of Q2_K; returns its f16 factor.
float QuantizeNibbles(const float* values, const float* sum_weights, bool weighted, uint8_t* q) {
  if (weighted) return FitPositiveScale(15, 16, values, sum_weights, q);
  const float max = MaxOf(16, values);
  if (!(max > 0)) {
    std::memset(q, 0, 16);
    return 0.f;
  }
  const float inverse = 15.f / max;
  for (int j = 0; j < 16; ++j) q[j] = static_cast<uint8_t>(NearestInt(inverse * values[j]));
  return max / 15.f;
}

}  // namespace

void QuantizeScales(const SubFits& fits, bool weighted, Q2KBlock* block) {
  uint8_t scales[16];
  uint8_t mins[16];
  StoreF16(block->d, QuantizeNibbles(fits.scale, fits.sum_weights, weighted, scales));
  StoreF16(block->dmin, QuantizeNibbles(fits.min, fits.sum_weights, weighted, mins));
  for (int j = 0; j < 16; ++j) block->scales[j] = static_cast<uint8_t>(scales[j] | (mins[j] << 4));
}

void DecodeScales(const Q2KBlock& block, SubScales* out) {
  const float d = LoadF16(block.d);
  const float dmin = LoadF16(block.dmin);
  for (int j = 0; j < 16; ++j) {
    out->scale[j] = d * static_cast<float>(block.scales[j] & 15);
    out->min[j] = dmin * static_cast<float>(block.scales[j] >> 4);
  }
}

void QuantizeScales(const SubFits& fits, bool weighted, Q3KBlock* block) {
  uint8_t scales[16];
  float d = 0.f;
  if (weighted) {
    d = FitScale(32, 16, fits.scale, fits.sum_weights, scales);
  } else if (const float extreme = ExtremeOf(fits.scale); extreme != 0) {
    const float inverse = -32.f / extreme;
    for (int j = 0; j < 16; ++j) {
      const int8_t l = static_cast<int8_t>(NearestInt(inverse * fits.scale[j]));
      scales[j] = static_cast<uint8_t>(std::clamp<int>(l, -32, 31) + 32);
    }
    d = 1 / inverse;
  } else {
    std::memset(scales, 0, sizeof(scales));
  }
  PackQ3Scales(scales, block->scales);
  StoreF16(block->d, d);
}

void DecodeScales(const Q3KBlock& block, SubScales* out) {
  const float d = LoadF16(block.d);
  uint8_t scales[16];
  UnpackQ3Scales(block.scales, scales);
  for (int j = 0; j < 16; ++j) {
    out->scale[j] = d * static_cast<float>(static_cast<int>(scales[j]) - 32);
    out->min[j] = 0.f;
  }
}

void QuantizeScales(const SubFits& fits, bool weighted, Q4KBlock* block) {
  QuantizeScales6Bit(fits, weighted, block);
}
void DecodeScales(const Q4KBlock& block, SubScales* out) { DecodeScales6Bit(block, out); }

void QuantizeScales(const SubFits& fits, bool weighted, Q5KBlock* block) {
  QuantizeScales6Bit(fits, weighted, block);
}
void DecodeScales(const Q5KBlock& block, SubScales* out) { DecodeScales6Bit(block, out); }

bool NoScale(const SubFits& fits) { return std::fabs(ExtremeOf(fits.scale)) < kZeroBlock; }

// Importance plays no part in Q6_K's scales.
void QuantizeScales(const SubFits& fits, bool /*weighted*/, Q6KBlock* block) {
  const float inverse = -128.f / ExtremeOf(fits.scale);
  StoreF16(block->d, 1 / inverse);
  for (int j = 0; j < 16; ++j) {
    const int l = std::min(127, NearestInt(inverse * fits.scale[j]));
    block->scales[j] = static_cast<uint8_t>(static_cast<int8_t>(l));
  }
}

void DecodeScales(const Q6KBlock& block, SubScales* out) {
  const float d = LoadF16(block.d);
  for (int j = 0; j < 16; ++j) {
    out->scale[j] = d * static_cast<float>(static_cast<int8_t>(block.scales[j]));
    out->min[j] = 0.f;
  }
}

}  // namespace quern::quant
