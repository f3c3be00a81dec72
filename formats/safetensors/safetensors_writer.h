// Where everything stands in the safetensors files of a model, before a byte of it is written.
//
// One file, or shards with model.safetensors.index.json, as transformers names and fills them: in
// the order given, a shard ends before the tensor that would make it larger than asked for. Within
// a file, wider types come first, so that data is aligned to its elements, and then names in byte
// order. Headers are padded with spaces to a multiple of 8 bytes. The same tensors give the same
// bytes. Non-goals: the tensors' data (who has it writes it at these offsets), side files.
// Sources: safetensors (README.md, "Format"; serialize() sorts by type and name), huggingface_hub
// (split_torch_state_dict_into_shards).
#ifndef QUERN_FORMATS_SAFETENSORS_SAFETENSORS_WRITER_H_
#define QUERN_FORMATS_SAFETENSORS_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/core/model.h"

namespace quern::formats::safetensors {

inline constexpr std::string_view kIndexName = "model.safetensors.index.json";

struct NamedTensor {
  std::string name;
  TensorType type;
  Shape shape;
};

struct PlacedTensor {
  size_t tensor = 0;    // of those that were given
  uint64_t offset = 0;  // from the beginning of its file
  uint64_t bytes = 0;
};

struct PlacedFile {
  std::string name;                   // "model-00001-of-00003.safetensors"
  std::vector<uint8_t> header;        // the length, then the JSON
  std::vector<PlacedTensor> tensors;  // without holes, after the header
  uint64_t bytes = 0;                 // of the whole file
};

struct Layout {
  std::vector<PlacedFile> files;
  std::string index;  // text of kIndexName; empty for a single file
};

// Tensors of up to `shard_bytes` go into one file; a larger tensor has one for itself. Throws
// kUnsupported for a type that the format has not, kDuplicate for a name that is there twice,
// kBadShape, and kLimitExceeded for a header larger than readers accept.
Layout LayOut(std::span<const NamedTensor> tensors, uint64_t shard_bytes);

}  // namespace quern::formats::safetensors

#endif  // QUERN_FORMATS_SAFETENSORS_SAFETENSORS_WRITER_H_
