// Sets of GGUF files that hold one model: the names of the shards and the split.* keys.
//
// A set of 3 is NAME-00001-of-00003.gguf to NAME-00003-of-00003.gguf. The first shard carries the
// model's metadata; each carries split.no (from 0), split.count and split.tensors.count (of the
// whole set). This is what llama.cpp's gguf-split and converter write.
#ifndef QUERN_FORMATS_GGUF_GGUF_SPLIT_H_
#define QUERN_FORMATS_GGUF_GGUF_SPLIT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/core/metadata.h"

namespace quern::formats::gguf {

inline constexpr std::string_view kSplitNoKey = "split.no";
inline constexpr std::string_view kSplitCountKey = "split.count";
inline constexpr std::string_view kSplitTensorsKey = "split.tensors.count";
inline constexpr std::array kSplitKeys = {kSplitNoKey, kSplitCountKey, kSplitTensorsKey};

// A shard's file name: PREFIX-NUMBER-of-COUNT.gguf, number and count in at least five digits.
struct ShardName {
  std::string prefix;
  uint32_t number = 0;  // from 1
  uint32_t count = 0;
  bool operator==(const ShardName&) const = default;
};

std::string MakeShardName(const ShardName& name);

// Absent where `file_name` (without folders) is not what MakeShardName() makes of some
// 1 <= number <= count, or has no prefix.
std::optional<ShardName> ParseShardName(std::string_view file_name);

// A shard's own account of its place in its set.
struct SplitKeys {
  uint32_t no = 0;  // from 0
  uint32_t count = 0;
  uint64_t tensors = 0;  // in the whole set
};

// Absent where the file is a whole model: no split.count, or one below 2 (gguf-split leaves
// split.count = 0 in what it merges). Throws kMissing and kBadValue where the keys make no sense.
std::optional<SplitKeys> ReadSplitKeys(const Metadata& metadata, const std::string& file);

// Puts the keys of part `keys.no` at the end of `metadata`: u16, u16 and i32, in the order of
// llama.cpp's converter and quantizer (no, count, tensors) or of its gguf-split, which sets the
// count last.
enum class SplitKeyOrder { kConverter, kGgufSplit };
void SetSplitKeys(const SplitKeys& keys, SplitKeyOrder order, Metadata& metadata);

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_SPLIT_H_
