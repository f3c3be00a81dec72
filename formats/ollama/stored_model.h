// A model in an Ollama store: its manifest, the layers' texts, and the weights as a ModelSource.
//
// Weights are the layers of kind "model": one GGUF, or the parts of a split one in any order
// (blobs have digests for names; the parts know their numbers). A GGML file of Ollama's first
// months is opened as what it is. Manifests whose weights are "tensor" layers (safetensors blobs)
// open as a Hugging Face model: "json" layers are its side files. Projector, adapter and draft
// layers are files of their own: named here, never part of the model.
// Contract: every blob that is opened is inside the store and has the manifest's size (kMismatch).
#ifndef QUERN_FORMATS_OLLAMA_STORED_MODEL_H_
#define QUERN_FORMATS_OLLAMA_STORED_MODEL_H_

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/model.h"
#include "formats/ollama/manifest.h"
#include "formats/ollama/store.h"
#include "formats/reader.h"

namespace quern::formats::ollama {

inline constexpr std::string_view kScheme = "ollama:";
inline constexpr uint64_t kMaxTextLayerBytes = 64 << 20;

class StoredModel {
 public:
  // NAME[:TAG] as ParseModelName reads it, in Store::Find(store). Throws what these throw and what
  // ReadManifest does.
  static StoredModel Find(std::string_view name, const std::filesystem::path& store);
  // By the path of a manifest.
  static StoredModel At(const std::filesystem::path& manifest);
  // What `model` (the MODEL of a command) names: an address "ollama:NAME", or a manifest's path.
  // Absent for everything else, and for "ollama:" alone.
  static std::optional<StoredModel> From(const std::filesystem::path& model,
                                         const OpenOptions& options);

  const Store& store() const { return store_; }
  const Manifest& manifest() const { return manifest_; }
  const std::filesystem::path& path() const { return path_; }  // of the manifest

  std::vector<Layer> LayersOf(std::string_view kind) const;  // in the manifest's order
  // The blob of a layer: kMissing, kUnsafe, kMismatch (another size).
  std::filesystem::path BlobOf(const Layer& layer) const;
  // The whole of a small layer (template, system, params, license, the config).
  std::string TextOf(const Layer& layer) const;

  // The weights. `named` is what the user called them. Throws kMissing where there are none, and
  // what the blobs' own readers throw.
  std::unique_ptr<ModelSource> Open(const std::filesystem::path& named,
                                    const OpenOptions& options) const;

 private:
  StoredModel(Store store, std::filesystem::path path);

  Store store_;
  std::filesystem::path path_;
  Manifest manifest_;
};

// Manifests inside a store, by content.
extern const FormatInfo kFormat;

}  // namespace quern::formats::ollama

#endif  // QUERN_FORMATS_OLLAMA_STORED_MODEL_H_
