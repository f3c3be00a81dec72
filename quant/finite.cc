#include "quant/finite.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace quern::quant {
namespace {

// All exponent bits set: infinity or NaN.
constexpr uint32_t kExponent = 0x7f800000;

bool IsNonFinite(float weight) {
  return (std::bit_cast<uint32_t>(weight) & kExponent) == kExponent;
}

}  // namespace

std::optional<size_t> FirstNonFinite(std::span<const float> weights) {
  // Without a branch per weight this loop vectorizes; it runs at the cache's speed.
  uint32_t largest = 0;
  for (const float weight : weights) {
    largest = std::max(largest, std::bit_cast<uint32_t>(weight) & kExponent);
  }
  if (largest != kExponent) return std::nullopt;
  const auto at = std::find_if(weights.begin(), weights.end(), IsNonFinite);
  return static_cast<size_t>(at - weights.begin());
}

}  // namespace quern::quant
