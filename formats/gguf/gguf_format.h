// What GGUF's reader and writer agree on: constants, limits, and what a key or a tensor may be.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Where llama.cpp is stricter
// than that page (tensor names, dimensions, alignment), llama.cpp is followed: a file that it
// refuses is of no use.
#ifndef QUERN_FORMATS_GGUF_GGUF_FORMAT_H_
#define QUERN_FORMATS_GGUF_GGUF_FORMAT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "formats/core/error.h"
#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::formats::gguf {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr uint32_t kFirstVersion = 1;  // 32-bit counts, lengths and dimensions
inline constexpr uint32_t kVersion = 3;       // 64-bit since version 2, big-endian files since 3

inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr uint32_t kDefaultAlignment = 32;
inline constexpr uint32_t kMinAlignment = 8;  // the format asks for a multiple of 8
inline constexpr uint32_t kMaxAlignment = 1 << 20;

inline constexpr uint64_t kMaxKeys = 1 << 16;
inline constexpr uint64_t kMaxKeyBytes = (1 << 16) - 1;
inline constexpr uint64_t kMaxStringBytes = 1 << 28;
inline constexpr uint64_t kMaxArrayItems = 1 << 24;  // the largest vocabularies have 2^18 tokens
inline constexpr uint64_t kMaxTensors = 1 << 20;
inline constexpr uint64_t kMaxTensorNameBytes = 63;  // GGML_MAX_NAME, less its terminating zero
inline constexpr uint32_t kMaxDimensions = 4;        // GGML_MAX_DIMS

// The alignment that `metadata` asks for. Throws kBadType unless it is a u32, kBadValue unless it
// is a power of two of at least kMinAlignment, kLimitExceeded above kMaxAlignment.
uint64_t DataAlignment(const Metadata& metadata, const std::string& file);

// Throws kBadValue where `key` is empty, kBadText where it is not UTF-8 without zero bytes,
// kLimitExceeded where it is too long.
void CheckKey(std::string_view key, const Where& where);
void CheckTensorName(std::string_view name, const Where& where);

// Bytes of a tensor's data. Throws kBadShape where the dimensions are none, too many, zero,
// negative as a signed number, no whole blocks in a row, or larger than any file.
uint64_t DataBytes(TensorType type, const Shape& shape, const Where& where);

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_FORMAT_H_
