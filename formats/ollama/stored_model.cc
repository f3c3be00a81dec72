#include "formats/ollama/stored_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/huggingface/side_files.h"
#include "formats/safetensors/safetensors_reader.h"

namespace quern::formats::ollama {
namespace {

namespace fs = std::filesystem;

class GgufBlobs : public gguf::GgufSource {
 public:
  using GgufSource::GgufSource;
  std::string_view format() const override { return "ollama"; }
};

// Blobs that are safetensors files of one tensor, or of a tensor with what it was quantized with.
class TensorBlobs : public ModelSource {
 public:
  TensorBlobs(const fs::path& named, const StoredModel& model) : ModelSource(named) {
    for (const Layer& layer : model.LayersOf("tensor")) Add(model.BlobOf(layer));
    for (const Layer& layer : model.LayersOf("json")) {
      side_files_.emplace(layer.name, model.BlobOf(layer));
    }
    config_ = huggingface::ReadConfig(side_files_);
  }
  std::string_view format() const override { return "ollama"; }

 private:
  void Add(const fs::path& blob) {
    const safetensors::SafetensorsSource source(blob);
    const auto index = static_cast<uint32_t>(files_.size());
    files_.push_back(File::Open(blob));
    for (TensorInfo tensor : source.tensors()) {
      tensor.file = index;
      AddTensor(std::move(tensor));
    }
  }
};

bool IsGguf(const fs::path& path) {
  const File file = File::Open(path);
  std::string head(std::min<uint64_t>(file.size(), 4), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  return head == "GGUF";
}

bool LooksLikeManifest(std::string_view head) {
  return head.starts_with('{') && head.find("\"schemaVersion\"") != head.npos &&
         (head.find(kManifestType) != head.npos || head.find(kManifestListType) != head.npos ||
          head.find(kLayerTypePrefix) != head.npos);
}

bool Matches(const Probe& probe) { return !probe.is_folder && LooksLikeManifest(probe.head); }

std::unique_ptr<ModelSource> OpenManifest(const fs::path& path, const OpenOptions& options) {
  return StoredModel::At(path).Open(path, options);
}

}  // namespace

StoredModel::StoredModel(Store store, fs::path path)
    : store_(std::move(store)), path_(std::move(path)), manifest_(store_.ReadManifest(path_)) {}

StoredModel StoredModel::Find(std::string_view name, const fs::path& store) {
  const ModelName parsed = ParseModelName(name);
  Store found = Store::Find(store);
  fs::path path = found.ManifestOf(parsed);
  return {std::move(found), std::move(path)};
}

StoredModel StoredModel::At(const fs::path& manifest) {
  return {Store::Around(manifest), manifest};
}

std::optional<StoredModel> StoredModel::From(const fs::path& model, const OpenOptions& options) {
  std::error_code ignored;
  if (fs::is_regular_file(model, ignored)) {
    const File file = File::Open(model);
    std::string head(std::min(file.size(), kProbeBytes), '\0');
    file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
    if (LooksLikeManifest(head)) return At(model);
  } else if (!fs::exists(model, ignored)) {
    const std::string text = model.string();
    if (text.starts_with(kScheme) && text != kScheme) {
      return Find(std::string_view(text).substr(kScheme.size()), options.store);
    }
  }
  return {};
}

std::vector<Layer> StoredModel::LayersOf(std::string_view kind) const {
  std::vector<Layer> found;
  for (const Layer& layer : manifest_.layers) {
    if (layer.kind() == kind) found.push_back(layer);
  }
  return found;
}

fs::path StoredModel::BlobOf(const Layer& layer) const {
  fs::path path = store_.ExistingBlob(layer.digest);
  const uint64_t size = File::Open(path).size();
  if (size != layer.size) {
    throw Error(ErrorCode::kMismatch, {path.string(), {}, {}},
                fmt::format("the blob has {} bytes and the manifest {} says {}; pull the model "
                            "again",
                            size, path_.string(), layer.size));
  }
  return path;
}

std::string StoredModel::TextOf(const Layer& layer) const {
  return ReadTextFile(BlobOf(layer), kMaxTextLayerBytes);
}

std::unique_ptr<ModelSource> StoredModel::Open(const fs::path& named,
                                               const OpenOptions& options) const {
  std::vector<gguf::Part> parts;
  for (const Layer& layer : LayersOf("model")) parts.push_back({.path = BlobOf(layer)});
  if (parts.size() == 1 && !IsGguf(parts.front().path)) {
    return OpenModel(parts.front().path, options);
  }
  if (!parts.empty()) return std::make_unique<GgufBlobs>(named, parts);
  if (!LayersOf("tensor").empty()) return std::make_unique<TensorBlobs>(named, *this);
  throw Error(ErrorCode::kMissing, {path_.string(), {}, "layers"},
              "the manifest names no weights: a model that runs elsewhere, or an adapter alone");
}

constinit const FormatInfo kFormat = {
    "ollama", "Ollama: a manifest in a store, or ollama:NAME[:TAG] (GGUF and safetensors layers)",
    Matches, OpenManifest};

}  // namespace quern::formats::ollama
