#include "quant/finite_blocks.h"

#include <array>
#include <cstring>

namespace quern::quant {
namespace {

// A value at `offset` of a block is not finite where all bits of `mask` are set in it.
struct Field {
  uint32_t offset;
  uint32_t bytes;
  uint64_t mask;
};

constexpr uint64_t kF16 = 0x7c00, kBF16 = 0x7f80, kF32 = 0x7f800000;
constexpr uint64_t kF64 = 0x7ff0000000000000;

struct TypeFields {
  TensorType type;
  uint32_t count;
  std::array<Field, 2> fields;
};

constexpr TypeFields One(TensorType type, uint32_t offset, uint32_t bytes, uint64_t mask) {
  return {type, 1, {Field{offset, bytes, mask}, {}}};
}
constexpr TypeFields Scale(TensorType type, uint32_t offset) { return One(type, offset, 2, kF16); }
constexpr TypeFields ScaleAndMin(TensorType type, uint32_t scale) {
  return {type, 2, {Field{scale, 2, kF16}, Field{scale + 2, 2, kF16}}};
}

// Layouts: the headers *_blocks.h of this room. IQ1_M, whose scale is scattered, and NVFP4, whose
// scales have no such value, are not here.
constexpr std::array kTypes = {
    One(TensorType::kF32, 0, 4, kF32),    One(TensorType::kF16, 0, 2, kF16),
    One(TensorType::kBF16, 0, 2, kBF16),  One(TensorType::kF64, 0, 8, kF64),
    One(TensorType::kF8E4M3, 0, 1, 0x7f), One(TensorType::kF8E5M2, 0, 1, 0x7c),
    Scale(TensorType::kQ4_0, 0),          ScaleAndMin(TensorType::kQ4_1, 0),
    Scale(TensorType::kQ5_0, 0),          ScaleAndMin(TensorType::kQ5_1, 0),
    Scale(TensorType::kQ8_0, 0),          ScaleAndMin(TensorType::kQ8_1, 0),
    ScaleAndMin(TensorType::kQ2_K, 80),   Scale(TensorType::kQ3_K, 108),
    ScaleAndMin(TensorType::kQ4_K, 0),    ScaleAndMin(TensorType::kQ5_K, 0),
    Scale(TensorType::kQ6_K, 208),        One(TensorType::kQ8_K, 0, 4, kF32),
    Scale(TensorType::kIQ1_S, 0),         Scale(TensorType::kIQ2_XXS, 0),
    Scale(TensorType::kIQ2_XS, 0),        Scale(TensorType::kIQ2_S, 0),
    Scale(TensorType::kIQ3_XXS, 0),       Scale(TensorType::kIQ3_S, 0),
    Scale(TensorType::kIQ4_NL, 0),        Scale(TensorType::kIQ4_XS, 0),
    Scale(TensorType::kTQ1_0, 52),        Scale(TensorType::kTQ2_0, 64),
    One(TensorType::kMXFP4, 0, 1, 0xff),  Scale(TensorType::kQ1_0, 0),
    Scale(TensorType::kQ2_0, 0),
};

const TypeFields* FieldsOf(TensorType type) {
  for (const TypeFields& fields : kTypes) {
    if (fields.type == type) return &fields;
  }
  return nullptr;
}

// IQ1_M: four u16 at byte 48, the highest four bits of each are a digit of the f16 scale, the
// lowest digit first. The exponent is bits 10 to 14.
bool IsNonFiniteIq1M(const uint8_t* block) {
  constexpr size_t kScales = 48;
  std::array<uint16_t, 4> scales;
  std::memcpy(scales.data(), block + kScales, sizeof(scales));
  const uint32_t bits = scales[0] >> 12 | (scales[1] >> 8 & 0x00f0) | (scales[2] >> 4 & 0x0f00) |
                        (scales[3] & 0xf000);
  return (bits & kF16) == kF16;
}

template <typename T>
std::optional<size_t> Find(const Field& field, std::span<const uint8_t> blocks, size_t stride) {
  const T mask = static_cast<T>(field.mask);
  const size_t count = blocks.size() / stride;
  const auto at = [&](size_t i) {
    T value;
    std::memcpy(&value, blocks.data() + i * stride + field.offset, sizeof(value));
    return static_cast<T>(value & mask);
  };
  // Without a way out of it this loop vectorizes where stride is the value's size.
  bool found = false;
  for (size_t i = 0; i < count; ++i) found |= at(i) == mask;
  if (!found) return std::nullopt;
  for (size_t i = 0;; ++i) {
    if (at(i) == mask) return i;
  }
}

// The elements of plain types one after the other: the stride is known when this is compiled.
template <typename T>
std::optional<size_t> FindIn(const Field& field, std::span<const uint8_t> blocks, size_t stride) {
  return stride == sizeof(T) ? Find<T>(field, blocks, sizeof(T)) : Find<T>(field, blocks, stride);
}

std::optional<size_t> FindField(const Field& field, std::span<const uint8_t> blocks,
                                size_t stride) {
  switch (field.bytes) {
    case 1:
      return FindIn<uint8_t>(field, blocks, stride);
    case 2:
      return FindIn<uint16_t>(field, blocks, stride);
    case 4:
      return FindIn<uint32_t>(field, blocks, stride);
    default:
      return FindIn<uint64_t>(field, blocks, stride);
  }
}

}  // namespace

bool CanBeNonFinite(TensorType type) {
  return type == TensorType::kIQ1_M || FieldsOf(type) != nullptr;
}

std::optional<size_t> FirstNonFiniteBlock(TensorType type, std::span<const uint8_t> blocks) {
  const size_t stride = Info(type).block_bytes;
  if (type == TensorType::kIQ1_M) {
    for (size_t at = 0; at + stride <= blocks.size(); at += stride) {
      if (IsNonFiniteIq1M(blocks.data() + at)) return at / stride;
    }
    return std::nullopt;
  }
  const TypeFields* fields = FieldsOf(type);
  std::optional<size_t> first;
  for (uint32_t i = 0; fields != nullptr && i < fields->count; ++i) {
    const auto found = FindField(fields->fields[i], blocks, stride);
    if (found && (!first || *found < *first)) first = found;
  }
  return first;
}

}  // namespace quern::quant
