// Which tensor goes to which file of a split model, and what each file says of it.
//
// Four ways, each with its peer's rules: llama.cpp's converter, its quantizer's --keep-split, its
// gguf-split and gguf-split's merge. Non-goals: reading sets (formats/gguf/gguf_reader.h), bytes.
#ifndef QUERN_CONVERTERS_SPLIT_H_
#define QUERN_CONVERTERS_SPLIT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "formats/core/metadata.h"

namespace quern::converters {

enum class SplitRules : uint8_t {
  kWhole,      // one file without split keys
  kConverter,  // limits count the tensors' bytes; a model within them stays one file
  kKeep,       // the files of the source; one file gets a shard's name and no keys
  kGgufSplit,  // limits count padded bytes; one file is still a set of one
  kGgufMerge,  // one file that keeps the keys, with a count of 0
};

struct SplitOptions {
  SplitRules rules = SplitRules::kWhole;
  uint64_t max_tensors = 0;  // in a file; 0: any number
  uint64_t max_bytes = 0;    // of tensors in a file, headers not counted; 0: any size
  bool empty_first = false;  // the first file has the metadata only
};

struct SplitTensor {
  uint64_t bytes = 0;
  uint32_t source_file = 0;  // index into ModelSource::files()
};

// The file of each tensor; files are filled in the tensors' order and their numbers have no gap. A
// tensor that is larger than max_bytes gets a file of its own.
struct Split {
  std::vector<uint32_t> files;
  uint32_t count = 1;
  bool named_as_shards = false;
};

// Throws kUsage where more files would be needed than a set can have (65535).
Split SplitTensors(std::span<const SplitTensor> tensors, const SplitOptions& options);

// What file `no` of the split has of the model's metadata, its own keys included.
Metadata MetadataOfFile(const Metadata& model, const Split& split, SplitRules rules, uint32_t no);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_SPLIT_H_
