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
void StoreScales6Bit(const StoredScales& stored, Block* block) {
  StoreF16(block->d, stored.d);
  StoreF16(block->dmin, stored.dmin);
  Pack6Bit(stored.scales, stored.mins, block->scales);
}

// A 6-bit field of Q4_K and Q5_K without an importance matrix; returns its factor. Limited after
// the cut to a byte: a negative value becomes 63.
float QuantizeSixBits(const float* values, uint8_t* q) {
  const float max = MaxOf(8, values);
  const float inverse = max > 0 ? 63.f / max : 0.f;
  for (int j = 0; j < 8; ++j) {
    q[j] = std::min<uint8_t>(63, static_cast<uint8_t>(NearestInt(inverse * values[j])));
  }
  return max / 63.f;
}

template <class Block>
void QuantizeScales6Bit(const SubFits& fits, bool weighted, Block* block) {
  StoredScales stored;
  if (weighted) {
    stored.d = FitPositiveScale(63, 8, fits.scale, fits.sum_weights, stored.scales);
    stored.dmin = FitPositiveScale(63, 8, fits.min, fits.sum_weights, stored.mins);
  } else {
    stored.d = QuantizeSixBits(fits.scale, stored.scales);
    stored.dmin = QuantizeSixBits(fits.min, stored.mins);
  }
  StoreScales(stored, block);
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

void StoreScales(const StoredScales& stored, Q2KBlock* block) {
  StoreF16(block->d, stored.d);
  StoreF16(block->dmin, stored.dmin);
  for (int j = 0; j < 16; ++j) {
    block->scales[j] = static_cast<uint8_t>(stored.scales[j] | (stored.mins[j] << 4));
  }
}

void StoreScales(const StoredScales& stored, Q4KBlock* block) { StoreScales6Bit(stored, block); }

// Unlike Q4_K, the fields are limited here whatever the search gave: a negative scale wraps to
// more.
void StoreScales(const StoredScales& stored, Q5KBlock* block) {
  StoredScales limited = stored;
  for (int j = 0; j < 8; ++j) {
    limited.scales[j] = std::min<uint8_t>(63, stored.scales[j]);
    limited.mins[j] = std::min<uint8_t>(63, stored.mins[j]);
  }
  StoreScales6Bit(limited, block);
}

void QuantizeScales(const SubFits& fits, bool weighted, Q2KBlock* block) {
  StoredScales stored;
  stored.d = QuantizeNibbles(fits.scale, fits.sum_weights, weighted, stored.scales);
  stored.dmin = QuantizeNibbles(fits.min, fits.sum_weights, weighted, stored.mins);
  StoreScales(stored, block);
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
