// A Hugging Face folder: config.json, tokenizer files, and weights in one file or in shards.
//
// Which files are the weights, by the first rule that finds one:
//   1. the shards that model.safetensors.index.json names      (all of them must be there)
//   2. model.safetensors
//   3. every model*.safetensors
//   4. to 6. the same for pytorch_model*.bin
//   7. every other *.safetensors (adapters, consolidated.safetensors)
// Rule 2 before 3 because folders are found with leftovers (model.v1.safetensors) beside the model.
// Names starting with a dot never count. Symbolic links are followed: a Hugging Face cache is made
// of them; only what an index says may not leave the folder.
//
// Tensors are listed as llama.cpp's converter meets them: shards by file name, tensors by name
// within a shard, both in byte order.
//
// No weights at all: a folder with config or tokenizer files opens with zero tensors, for what
// needs the vocabulary only. An index without its shards is a broken download, and an error, unless
// the caller asked for FolderOptions{.weights = false}.
//
// Shards are opened by whatever format recognizes them, so this reader knows no data layout.
// Non-goals: downloading, hub caches and addresses, what config or names mean.
#ifndef QUERN_FORMATS_HUGGINGFACE_FOLDER_READER_H_
#define QUERN_FORMATS_HUGGINGFACE_FOLDER_READER_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/model.h"
#include "formats/reader.h"

namespace quern::formats::huggingface {

// "weight_map" of an index file: tensor name -> shard, a path below the index's folder.
using WeightMap = std::map<std::string, std::string, std::less<>>;

// Parses the text of an index file. Throws kBadText, kDuplicate (a tensor listed twice),
// kLimitExceeded, kMissing (no weight_map), kBadType (not names), kUnsafe (a shard that is absolute
// or leaves the folder).
WeightMap ParseIndex(std::string_view json, std::string_view file);

struct FolderOptions {
  bool weights = true;  // false: leave them closed; zero tensors
  OpenOptions shards;   // passed on to each weight file; an index names tensors in full
};

class FolderSource : public ModelSource {
 public:
  // Throws, beside what the shards' own format and ParseIndex throw: kMissing (shards named by the
  // index are absent: how many and which; a tensor of the index is in no shard), kUnexpected (a
  // tensor that the index does not name; a shard of another layout), kMismatch (a tensor in another
  // shard than the index says), kDuplicate (a tensor in two shards).
  explicit FolderSource(const std::filesystem::path& path, const FolderOptions& options = {});

  std::string_view format() const override { return "huggingface"; }
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override;
  void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const override;

 private:
  struct Shard {
    std::string name;  // in the folder
    std::unique_ptr<ModelSource> source;
  };

  void OpenShard(const std::string& name, const OpenOptions& options);
  void CheckAgainst(const WeightMap& index, const std::string& index_path) const;
  const Shard& ShardOf(const TensorInfo& tensor) const;

  std::vector<Shard> shards_;
  std::vector<uint32_t> shard_of_file_;  // for each of files()
};

// List this format after those that know a folder by files of their own (Meta, litgpt): a tokenizer
// or config.json is enough for this one.
extern const FormatInfo kFormat;

}  // namespace quern::formats::huggingface

#endif  // QUERN_FORMATS_HUGGINGFACE_FOLDER_READER_H_
