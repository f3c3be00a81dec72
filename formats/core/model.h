// The tensor IR: what every reader makes of its format, and all that the rooms above see of it.
//
// A ModelSource lists tensors (name, type, shape, place), key-value metadata and side files.
// Opening reads headers only and validates everything once: limits, overflow, bounds, overlap,
// duplicates. Tensor data is read later, by byte range, into the caller's buffer. Non-goals: what
// the names mean (converters/), how types are coded (quant/).
#ifndef QUERN_FORMATS_CORE_MODEL_H_
#define QUERN_FORMATS_CORE_MODEL_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/core/file.h"
#include "formats/core/json.h"
#include "formats/core/metadata.h"
#include "formats/core/tensor_type.h"

namespace quern {

using Shape = std::vector<uint64_t>;  // outermost dimension first, as in PyTorch; empty: a scalar

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  Shape shape;
  uint64_t bytes = 0;   // of the contiguous little-endian data that Read() gives
  uint32_t file = 0;    // index into files(), and
  uint64_t offset = 0;  // where the stored data begins there
};

// Side files by the name that Hugging Face gives them: "config.json", "tokenizer.model", ...
using SideFiles = std::map<std::string, std::filesystem::path, std::less<>>;

class ModelSource {
 public:
  explicit ModelSource(std::filesystem::path path) : path_(std::move(path)) {}
  virtual ~ModelSource() = default;
  ModelSource(const ModelSource&) = delete;
  ModelSource& operator=(const ModelSource&) = delete;

  // The reader's name, as `quern formats` lists it: "safetensors", "gguf", ...
  virtual std::string_view format() const = 0;

  // Fills `out` with the tensor's contiguous, row-major, little-endian bytes from byte `offset` on,
  // whatever the storage looks like. offset + out.size() <= tensor.bytes. Thread-safe. Throws
  // Error on I/O failure and where the stored bytes turn out to be damaged.
  virtual void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const;

  // Hint that Read() of this range is near. Does nothing by default beyond read-ahead of files().
  virtual void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const;

  const std::filesystem::path& path() const { return path_; }  // what the user named
  const std::vector<File>& files() const { return files_; }    // data files, in shard order
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* FindTensor(std::string_view name) const;
  const Metadata& metadata() const { return metadata_; }
  const SideFiles& side_files() const { return side_files_; }
  // The model's hyperparameters as its own format states them (config.json, params.json, ...);
  // null where the format has none beside the metadata (GGUF).
  const Json& config() const { return config_; }
  // Family of names that tensors and config follow: "huggingface", "gguf", "meta", "litgpt", ...
  const std::string& layout() const { return layout_; }

 protected:
  // Appends; throws kDuplicate where the name is there already.
  void AddTensor(TensorInfo tensor);

  std::vector<File> files_;
  Metadata metadata_;
  SideFiles side_files_;
  Json config_;
  std::string layout_ = "huggingface";

 private:
  std::filesystem::path path_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> by_name_;
};

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_MODEL_H_
