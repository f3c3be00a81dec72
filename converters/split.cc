#include "converters/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/gguf/gguf_format.h"
#include "formats/gguf/gguf_split.h"

namespace quern::converters {
namespace {

using formats::gguf::SplitKeyOrder;
using formats::gguf::SplitKeys;

constexpr uint32_t kMaxFiles = std::numeric_limits<uint16_t>::max();

Split FillFiles(std::span<const SplitTensor> tensors, const SplitOptions& options) {
  Split split;
  if (options.empty_first) ++split.count;
  uint64_t in_file = 0;
  uint64_t bytes_in_file = 0;
  for (const SplitTensor& tensor : tensors) {
    const uint64_t bytes = options.rules == SplitRules::kGgufSplit
                               ? AlignUp(tensor.bytes, formats::gguf::kDefaultAlignment)
                               : tensor.bytes;
    const bool full = (options.max_tensors > 0 && in_file >= options.max_tensors) ||
                      (options.max_bytes > 0 && bytes_in_file + bytes > options.max_bytes);
    if (in_file > 0 && full) {
      ++split.count;
      in_file = bytes_in_file = 0;
    }
    ++in_file;
    bytes_in_file += bytes;
    split.files.push_back(split.count - 1);
  }
  return split;
}

Split KeepFiles(std::span<const SplitTensor> tensors) {
  Split split;
  for (const SplitTensor& tensor : tensors) {
    split.files.push_back(tensor.source_file);
    split.count = std::max(split.count, tensor.source_file + 1);
  }
  return split;
}

}  // namespace

Split SplitTensors(std::span<const SplitTensor> tensors, const SplitOptions& options) {
  Split split;
  switch (options.rules) {
    case SplitRules::kWhole:
    case SplitRules::kGgufMerge:
      split.files.assign(tensors.size(), 0);
      break;
    case SplitRules::kKeep:
      split = KeepFiles(tensors);
      split.named_as_shards = true;
      break;
    case SplitRules::kConverter:
      split = FillFiles(tensors, options);
      split.named_as_shards = split.count > 1;
      break;
    case SplitRules::kGgufSplit:
      split = FillFiles(tensors, options);
      split.named_as_shards = true;
      break;
  }
  if (split.count > kMaxFiles) {
    throw Error(ErrorCode::kUsage, {{}, {}, "split"},
                fmt::format("{} files would be needed and a set can have {}; raise the limit",
                            split.count, kMaxFiles));
  }
  return split;
}

Metadata MetadataOfFile(const Metadata& model, const Split& split, SplitRules rules, uint32_t no) {
  Metadata metadata = no == 0 ? model : Metadata();
  const SplitKeys keys{no, split.count, split.files.size()};
  if (rules == SplitRules::kGgufSplit) {
    SetSplitKeys(keys, SplitKeyOrder::kGgufSplit, metadata);
  } else if (rules == SplitRules::kGgufMerge) {
    SetSplitKeys({0, 0, keys.tensors}, SplitKeyOrder::kGgufSplit, metadata);
  } else if (split.count > 1) {
    SetSplitKeys(keys, SplitKeyOrder::kConverter, metadata);
  }
  return metadata;
}

}  // namespace quern::converters
