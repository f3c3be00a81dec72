// Every tensor type that quern can name, in one table: name, GGUF id, block geometry.
//
// A block is the unit of storage: `block_elements` weights in `block_bytes` bytes. Plain types have
// blocks of one element. Block types are stored row by row; a row holds whole blocks.
// GGUF ids: enum ggml_type, https://github.com/ggml-org/ggml/blob/master/include/ggml.h
#ifndef QUERN_FORMATS_CORE_TENSOR_TYPE_H_
#define QUERN_FORMATS_CORE_TENSOR_TYPE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace quern {

enum class TensorType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kI16,
  kI32,
  kI64,
  // below: found in source files only, no GGUF id
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kF8E4M3,
  kF8E5M2,
  kC64,
  kC128,
  // block types
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ8_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kQ8_K,
  kIQ1_S,
  kIQ1_M,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kIQ4_NL,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0,
  kMXFP4,
  kNVFP4,
  kQ1_0,
  kQ2_0,
};

enum class TypeClass : uint8_t { kFloat, kInteger, kOther, kQuantized };

struct TensorTypeInfo {
  TensorType type;
  std::string_view name;  // as llama.cpp prints it, upper case
  int gguf_id;            // -1: cannot be stored in GGUF
  uint32_t block_elements;
  uint32_t block_bytes;
  TypeClass type_class;
};

// All types, in the order of the enumeration.
std::span<const TensorTypeInfo> TensorTypes();

const TensorTypeInfo& Info(TensorType type);
inline std::string_view Name(TensorType type) { return Info(type).name; }
inline bool IsQuantized(TensorType type) { return Info(type).type_class == TypeClass::kQuantized; }
inline bool IsFloat(TensorType type) { return Info(type).type_class == TypeClass::kFloat; }

// By name, ignoring case ("q4_k", "BF16"); absent if there is no such type.
std::optional<TensorType> TensorTypeFromName(std::string_view name);
std::optional<TensorType> TensorTypeFromGgufId(uint32_t id);

// Bytes of a row of `elements`; absent where `elements` is no multiple of the block, or on
// overflow.
std::optional<uint64_t> RowBytes(TensorType type, uint64_t elements);

// Bytes of a tensor of `shape` (outermost first; empty = one element); absent where the last
// dimension is no multiple of the block, or on overflow.
std::optional<uint64_t> TensorBytes(TensorType type, std::span<const uint64_t> shape);

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_TENSOR_TYPE_H_
