// safetensors: one file of named tensors, described by a JSON header.
//
//  offset size  content
//       0    8  N, u64 little-endian: bytes of the header
//       8    N  JSON object, padded with spaces: tensor name -> {"dtype", "shape",
//               "data_offsets": [begin, end)} counted from byte 8+N; "__metadata__" -> strings
//     8+N       data, row-major, little-endian, tensor after tensor
// Source: https://github.com/huggingface/safetensors (README.md, "Format").
//
// Contract: after opening, every tensor's bytes exist, agree with its type and shape, and the
// tensors cover the data without hole, overlap or rest: a file that is something else as well (an
// archive appended to it) is refused. Tensors are listed by name, in byte order: the order in which
// llama.cpp's converter meets them. Non-goals: shards and folders (formats/huggingface).
#ifndef QUERN_FORMATS_SAFETENSORS_SAFETENSORS_READER_H_
#define QUERN_FORMATS_SAFETENSORS_SAFETENSORS_READER_H_

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "formats/core/metadata.h"
#include "formats/core/model.h"
#include "formats/reader.h"

namespace quern::formats::safetensors {

// The limits that the reference implementation enforces, and one that it leaves to its users.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr size_t kMaxDimensions = 64;  // as PyTorch

struct Header {
  std::vector<TensorInfo> tensors;  // by name; file = 0, offset counted from the file's start
  Metadata metadata;                // of "__metadata__", by key
};

// Reads and validates the header `json` of a file that has `data_bytes` bytes after it; `file` is
// its name in errors. Errors:
//   kBadMagic       does not start with '{'
//   kLimitExceeded  over kMaxHeaderBytes; JSON nested too deep
//   kBadText        not JSON, or more than one JSON text
//   kDuplicate      a tensor, or a field of one, named twice
//   kMissing        a tensor without dtype, shape or data_offsets
//   kUnexpected     a tensor with another field
//   kBadType        a field or metadata value of the wrong JSON type
//   kUnsupported    a dtype that quern does not know
//   kBadShape       negative, fractional or huge dimensions, or a product that overflows
//   kBadValue       offsets that are no unsigned integers, or begin > end
//   kMismatch       offsets and shape disagree
//   kTruncated      a tensor that ends after the data
//   kOverlap        two tensors share bytes
//   kUnusedBytes    a hole between tensors, or bytes after the last
Header ParseHeader(std::string_view json, uint64_t data_bytes, std::string_view file);

class SafetensorsSource : public ModelSource {
 public:
  // Beside ParseHeader's errors: kTruncated where the file is shorter than 8 bytes or than its
  // header, kBadValue for a header too short to be one.
  explicit SafetensorsSource(const std::filesystem::path& path);

  std::string_view format() const override { return "safetensors"; }
};

// Side files (config, tokenizer) in the file's folder are attached. Recognized by the '{' after the
// length; a binary file that is only named .safetensors is taken as well, to say what is wrong with
// it: list this format after those that have a magic number.
extern const FormatInfo kFormat;

}  // namespace quern::formats::safetensors

#endif  // QUERN_FORMATS_SAFETENSORS_SAFETENSORS_READER_H_
