// Arithmetic on sizes out of untrusted files: a wrap-around is an absent value, never a small one.
#ifndef QUERN_FORMATS_CORE_CHECKED_MATH_H_
#define QUERN_FORMATS_CORE_CHECKED_MATH_H_

#include <cstdint>
#include <optional>
#include <span>

namespace quern {

inline std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<uint64_t> CheckedMul(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Product of all factors; 1 for none. A zero factor does not hide the overflow of the others.
inline std::optional<uint64_t> CheckedProduct(std::span<const uint64_t> factors) {
  uint64_t product = 1;
  bool zero = false;
  for (const uint64_t factor : factors) {
    if (factor == 0) {
      zero = true;
      continue;
    }
    const auto next = CheckedMul(product, factor);
    if (!next) return std::nullopt;
    product = *next;
  }
  return zero ? 0 : product;
}

inline uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_CHECKED_MATH_H_
