// Internal to converters/expression.cc: the transforms that move data between rows.
//
// All positions and counts are elements of the flattened tensor. `read(first, count, out)` gives
// elements of the input; scratch memory stays within kTransformScratchBytes.
#ifndef QUERN_CONVERTERS_TRANSFORMS_H_
#define QUERN_CONVERTERS_TRANSFORMS_H_

#include <cstdint>
#include <functional>
#include <span>

namespace quern::converters {

inline constexpr uint64_t kTransformScratchBytes = uint64_t{8} << 20;

using ReadElements = std::function<void(uint64_t first, uint64_t count, std::span<uint8_t> out)>;

// Elements [first, first + count) of the transpose of a rows x columns matrix whose elements have
// `element_bytes` (1, 2, 4 or 8) bytes.
void TransposeElements(uint64_t rows, uint64_t columns, uint64_t element_bytes,
                       const ReadElements& read, uint64_t first, uint64_t count,
                       std::span<uint8_t> out);

// The same for Expression's kPermuteRope over `units` runs of `unit_elements` each, in `heads`
// heads.
struct RopeLayout {
  uint64_t heads;
  uint64_t units;
  uint64_t unit_elements;
  uint64_t element_bytes;
};
void PermuteRopeElements(const RopeLayout& layout, const ReadElements& read, uint64_t first,
                         uint64_t count, std::span<uint8_t> out);
void UnpermuteRopeElements(const RopeLayout& layout, const ReadElements& read, uint64_t first,
                           uint64_t count, std::span<uint8_t> out);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TRANSFORMS_H_
