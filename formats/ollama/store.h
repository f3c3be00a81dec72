// An Ollama model store: blobs/sha256-HEX and manifests/HOST/NAMESPACE/MODEL/TAG below one folder.
//
// Ollama of 2026 also has manifests-v2, whose entries are links to blobs; it looks there first, and
// so does this. Nothing outside of the store is ever opened: links that lead out of it are kUnsafe.
// Non-goals: hashing (verify/), writing.
#ifndef QUERN_FORMATS_OLLAMA_STORE_H_
#define QUERN_FORMATS_OLLAMA_STORE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "formats/ollama/manifest.h"
#include "formats/ollama/model_name.h"

namespace quern::formats::ollama {

class Store {
 public:
  // `root` has blobs/ and manifests/ or manifests-v2/. Throws kMissing otherwise.
  explicit Store(const std::filesystem::path& root);

  // `folder` where it is not empty, else the first that is a store of $OLLAMA_MODELS,
  // ~/.ollama/models and /usr/share/ollama/.ollama/models. Throws kMissing, naming all of them.
  static Store Find(const std::filesystem::path& folder);
  // The store that a manifest or a blob belongs to, by its path. Throws kMissing.
  static Store Around(const std::filesystem::path& manifest_or_blob);

  const std::filesystem::path& root() const { return root_; }

  struct Entry {
    ModelName name;
    std::filesystem::path path;  // of the manifest
  };
  // Every manifest whose place is a valid name, by name; each name once (manifests-v2 first).
  std::vector<Entry> Models() const;
  // Throws kMissing, listing the nearest names that are there.
  std::filesystem::path ManifestOf(const ModelName& name) const;

  // Reads a manifest file of this store; of a list, the member that llama.cpp's runner would load,
  // whose own blob is read where it is only referred to. Throws as ParseManifests, kUnsafe for a
  // link that leaves the store, kUnsupported for a list without a GGUF.
  Manifest ReadManifest(const std::filesystem::path& path) const;

  // Where the blob is (it may not exist).
  std::filesystem::path BlobPath(std::string_view digest) const;
  // A blob that must be there: kMissing, and kUnsafe where it is a link that leaves the store.
  std::filesystem::path ExistingBlob(std::string_view digest) const;

 private:
  void RequireInside(const std::filesystem::path& path) const;

  std::filesystem::path root_;
};

}  // namespace quern::formats::ollama

#endif  // QUERN_FORMATS_OLLAMA_STORE_H_
