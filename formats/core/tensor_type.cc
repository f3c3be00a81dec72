#include "formats/core/tensor_type.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "formats/core/checked_math.h"

namespace quern {
namespace {

using T = TensorType;
constexpr TypeClass kFloat = TypeClass::kFloat;
constexpr TypeClass kInteger = TypeClass::kInteger;
constexpr TypeClass kOther = TypeClass::kOther;
constexpr TypeClass kQuant = TypeClass::kQuantized;

constexpr std::array kTypes = {
    // type, name, GGUF id, elements and bytes of a block, class
    TensorTypeInfo{T::kF32, "F32", 0, 1, 4, kFloat},
    TensorTypeInfo{T::kF16, "F16", 1, 1, 2, kFloat},
    TensorTypeInfo{T::kBF16, "BF16", 30, 1, 2, kFloat},
    TensorTypeInfo{T::kF64, "F64", 28, 1, 8, kFloat},
    TensorTypeInfo{T::kI8, "I8", 24, 1, 1, kInteger},
    TensorTypeInfo{T::kI16, "I16", 25, 1, 2, kInteger},
    TensorTypeInfo{T::kI32, "I32", 26, 1, 4, kInteger},
    TensorTypeInfo{T::kI64, "I64", 27, 1, 8, kInteger},
    TensorTypeInfo{T::kU8, "U8", -1, 1, 1, kInteger},
    TensorTypeInfo{T::kU16, "U16", -1, 1, 2, kInteger},
    TensorTypeInfo{T::kU32, "U32", -1, 1, 4, kInteger},
    TensorTypeInfo{T::kU64, "U64", -1, 1, 8, kInteger},
    TensorTypeInfo{T::kBool, "BOOL", -1, 1, 1, kOther},
    TensorTypeInfo{T::kF8E4M3, "F8_E4M3", -1, 1, 1, kFloat},
    TensorTypeInfo{T::kF8E5M2, "F8_E5M2", -1, 1, 1, kFloat},
    TensorTypeInfo{T::kC64, "C64", -1, 1, 8, kOther},
    TensorTypeInfo{T::kC128, "C128", -1, 1, 16, kOther},
    TensorTypeInfo{T::kQ4_0, "Q4_0", 2, 32, 18, kQuant},
    TensorTypeInfo{T::kQ4_1, "Q4_1", 3, 32, 20, kQuant},
    TensorTypeInfo{T::kQ5_0, "Q5_0", 6, 32, 22, kQuant},
    TensorTypeInfo{T::kQ5_1, "Q5_1", 7, 32, 24, kQuant},
    TensorTypeInfo{T::kQ8_0, "Q8_0", 8, 32, 34, kQuant},
    TensorTypeInfo{T::kQ8_1, "Q8_1", 9, 32, 36, kQuant},
    TensorTypeInfo{T::kQ2_K, "Q2_K", 10, 256, 84, kQuant},
    TensorTypeInfo{T::kQ3_K, "Q3_K", 11, 256, 110, kQuant},
    TensorTypeInfo{T::kQ4_K, "Q4_K", 12, 256, 144, kQuant},
    TensorTypeInfo{T::kQ5_K, "Q5_K", 13, 256, 176, kQuant},
    TensorTypeInfo{T::kQ6_K, "Q6_K", 14, 256, 210, kQuant},
    TensorTypeInfo{T::kQ8_K, "Q8_K", 15, 256, 292, kQuant},
    TensorTypeInfo{T::kIQ1_S, "IQ1_S", 19, 256, 50, kQuant},
    TensorTypeInfo{T::kIQ1_M, "IQ1_M", 29, 256, 56, kQuant},
    TensorTypeInfo{T::kIQ2_XXS, "IQ2_XXS", 16, 256, 66, kQuant},
    TensorTypeInfo{T::kIQ2_XS, "IQ2_XS", 17, 256, 74, kQuant},
    TensorTypeInfo{T::kIQ2_S, "IQ2_S", 22, 256, 82, kQuant},
    TensorTypeInfo{T::kIQ3_XXS, "IQ3_XXS", 18, 256, 98, kQuant},
    TensorTypeInfo{T::kIQ3_S, "IQ3_S", 21, 256, 110, kQuant},
    TensorTypeInfo{T::kIQ4_NL, "IQ4_NL", 20, 32, 18, kQuant},
    TensorTypeInfo{T::kIQ4_XS, "IQ4_XS", 23, 256, 136, kQuant},
    TensorTypeInfo{T::kTQ1_0, "TQ1_0", 34, 256, 54, kQuant},
    TensorTypeInfo{T::kTQ2_0, "TQ2_0", 35, 256, 66, kQuant},
    TensorTypeInfo{T::kMXFP4, "MXFP4", 39, 32, 17, kQuant},
    TensorTypeInfo{T::kNVFP4, "NVFP4", 40, 64, 36, kQuant},
    TensorTypeInfo{T::kQ1_0, "Q1_0", 41, 128, 18, kQuant},
    TensorTypeInfo{T::kQ2_0, "Q2_0", 42, 64, 18, kQuant},
};

constexpr bool InEnumOrder() {
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (static_cast<size_t>(kTypes[i].type) != i) return false;
  }
  return true;
}
static_assert(InEnumOrder());

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::toupper(x) == std::toupper(y);
  });
}

}  // namespace

std::span<const TensorTypeInfo> TensorTypes() { return kTypes; }

const TensorTypeInfo& Info(TensorType type) { return kTypes[static_cast<size_t>(type)]; }

std::optional<TensorType> TensorTypeFromName(std::string_view name) {
  for (const auto& info : kTypes) {
    if (EqualIgnoringCase(info.name, name)) return info.type;
  }
  return std::nullopt;
}

std::optional<TensorType> TensorTypeFromGgufId(uint32_t id) {
  for (const auto& info : kTypes) {
    if (info.gguf_id >= 0 && static_cast<uint32_t>(info.gguf_id) == id) return info.type;
  }
  return std::nullopt;
}

std::optional<uint64_t> RowBytes(TensorType type, uint64_t elements) {
  const auto& info = Info(type);
  if (elements % info.block_elements != 0) return std::nullopt;
  return CheckedMul(elements / info.block_elements, info.block_bytes);
}

std::optional<uint64_t> TensorBytes(TensorType type, std::span<const uint64_t> shape) {
  if (shape.empty()) return RowBytes(type, 1);
  // The whole product is checked as well as the byte count: a consumer will form both.
  const auto elements = CheckedProduct(shape);
  const auto row = RowBytes(type, shape.back());
  const auto rows = CheckedProduct(shape.first(shape.size() - 1));
  if (!elements || !row || !rows) return std::nullopt;
  return CheckedMul(*row, *rows);
}

}  // namespace quern
