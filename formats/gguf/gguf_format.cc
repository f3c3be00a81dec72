#include "formats/gguf/gguf_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <span>

#include "formats/core/checked_math.h"
#include "formats/core/utf8.h"

namespace quern::formats::gguf {
namespace {

// Sizes and offsets are signed in llama.cpp; above this they are negative there.
constexpr uint64_t kMaxSigned = std::numeric_limits<int64_t>::max();

void CheckName(std::string_view name, uint64_t max_bytes, const Where& where) {
  if (name.empty()) throw Error(ErrorCode::kBadValue, where, "the name is empty; the file is bad");
  if (name.size() > max_bytes) {
    throw Error(ErrorCode::kLimitExceeded, where,
                fmt::format("a name of {} bytes; at most {} are allowed, shorten it", name.size(),
                            max_bytes));
  }
  if (!IsValidUtf8(name) || name.find('\0') != std::string_view::npos) {
    throw Error(ErrorCode::kBadText, where,
                "the name is not UTF-8 text without zero bytes; the file is damaged");
  }
}

}  // namespace

uint64_t DataAlignment(const Metadata& metadata, const std::string& file) {
  const Value* value = metadata.Find(kAlignmentKey);
  if (!value) return kDefaultAlignment;
  const Where where{file, {}, std::string(kAlignmentKey)};
  const auto* alignment = std::get_if<uint32_t>(value);
  if (!alignment) {
    throw Error(ErrorCode::kBadType, where,
                fmt::format("is of type {}; it must be u32", ValueTypeName(TypeOf(*value))));
  }
  if (*alignment < kMinAlignment || !std::has_single_bit(*alignment)) {
    throw Error(
        ErrorCode::kBadValue, where,
        fmt::format("is {}; it must be a power of two from {} on", *alignment, kMinAlignment));
  }
  if (*alignment > kMaxAlignment) {
    throw Error(ErrorCode::kLimitExceeded, where,
                fmt::format("is {}; at most {} is supported", *alignment, kMaxAlignment));
  }
  return *alignment;
}

void CheckKey(std::string_view key, const Where& where) { CheckName(key, kMaxKeyBytes, where); }

void CheckTensorName(std::string_view name, const Where& where) {
  CheckName(name, kMaxTensorNameBytes, where);
}

uint64_t DataBytes(TensorType type, const Shape& shape, const Where& where) {
  if (shape.empty() || shape.size() > kMaxDimensions) {
    throw Error(
        ErrorCode::kBadShape, where,
        fmt::format("{} dimensions; a GGUF tensor has 1 to {}", shape.size(), kMaxDimensions));
  }
  for (const uint64_t size : shape) {
    if (size == 0 || size > kMaxSigned) {
      throw Error(
          ErrorCode::kBadShape, where,
          fmt::format("a dimension of size {}; the file is damaged", static_cast<int64_t>(size)));
    }
  }
  const auto elements = CheckedProduct(shape);
  if (!elements || *elements > kMaxSigned) {
    throw Error(ErrorCode::kBadShape, where,
                "the dimensions multiply to more than 2^63 elements; the file is damaged");
  }
  if (!RowBytes(type, shape.back())) {
    throw Error(
        ErrorCode::kBadShape, where,
        fmt::format("rows of {} elements are no whole number of {} blocks of {}; the tensor "
                    "needs another type",
                    shape.back(), Name(type), Info(type).block_elements));
  }
  const auto bytes = TensorBytes(type, shape);
  if (!bytes || *bytes > kMaxSigned) {
    throw Error(ErrorCode::kBadShape, where,
                "the tensor is larger than 2^63 bytes; the file is damaged");
  }
  return *bytes;
}

}  // namespace quern::formats::gguf
