#include "formats/ollama/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern::formats::ollama {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifestFolders[] = {"manifests-v2", "manifests"};
constexpr const char* kBlobFolder = "blobs";

bool IsFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool IsStore(const fs::path& root) {
  return IsFolder(root / kBlobFolder) &&
         (IsFolder(root / kManifestFolders[0]) || IsFolder(root / kManifestFolders[1]));
}

std::vector<fs::path> UsualPlaces() {
  std::vector<fs::path> places;
  if (const char* models = std::getenv("OLLAMA_MODELS"); models && *models) {
    places.emplace_back(models);
  }
  if (const char* home = std::getenv("HOME"); home && *home) {
    places.push_back(fs::path(home) / ".ollama" / "models");
  }
  places.emplace_back("/usr/share/ollama/.ollama/models");
  return places;
}

// A list holds one manifest per runner; these run GGUF. "" is what a manifest outside a list has.
bool HoldsGguf(const Manifest& manifest) {
  if (!manifest.format.empty()) return manifest.format == "gguf";
  return manifest.runner.empty() || manifest.runner == "ollama" || manifest.runner == "llamacpp";
}

}  // namespace

Store::Store(const fs::path& root) {
  std::error_code error;
  root_ = fs::weakly_canonical(root, error);
  if (error || !IsStore(root)) {
    throw Error(ErrorCode::kMissing, {root.string(), {}, {}},
                "this is no Ollama store; it would have the folders blobs and manifests");
  }
}

Store Store::Find(const fs::path& folder) {
  if (!folder.empty()) return Store(folder);
  std::string tried;
  for (const fs::path& place : UsualPlaces()) {
    if (IsStore(place)) return Store(place);
    tried += (tried.empty() ? "" : ", ") + place.string();
  }
  throw Error(ErrorCode::kMissing, {},
              fmt::format("there is no Ollama store in {}; name it with --store", tried));
}

Store Store::Around(const fs::path& manifest_or_blob) {
  const fs::path path = fs::absolute(manifest_or_blob).lexically_normal();
  for (fs::path folder = path.parent_path(); folder != folder.root_path();
       folder = folder.parent_path()) {
    if (IsStore(folder)) return Store(folder);
  }
  throw Error(ErrorCode::kMissing, {manifest_or_blob.string(), {}, {}},
              "the manifest is in no Ollama store, so its blobs cannot be found; a store has the "
              "folders blobs and manifests");
}

std::vector<Store::Entry> Store::Models() const {
  std::map<fs::path, Entry> found;
  for (const char* folder : kManifestFolders) {
    const fs::path top = root_ / folder;
    if (!IsFolder(top)) continue;
    std::error_code error;
    fs::recursive_directory_iterator it(top, fs::directory_options::skip_permission_denied, error);
    for (; !error && it != fs::end(it); it.increment(error)) {
      if (it.depth() > 3) it.disable_recursion_pending();
      std::error_code ignored;
      if (it->is_directory(ignored)) continue;
      const auto name = ModelNameFromPath(it->path().lexically_relative(top));
      if (name) found.emplace(name->ManifestPath(), Entry{*name, it->path()});
    }
  }
  std::vector<Entry> models;
  for (auto& [path, entry] : found) models.push_back(std::move(entry));
  return models;
}

fs::path Store::ManifestOf(const ModelName& name) const {
  for (const char* folder : kManifestFolders) {
    const fs::path path = root_ / folder / name.ManifestPath();
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) return path;
  }
  std::string others;
  for (const Entry& entry : Models()) {
    others += (others.empty() ? "" : ", ") + entry.name.ShortText();
  }
  throw Error(ErrorCode::kMissing, {root_.string(), {}, name.ShortText()},
              others.empty() ? "this store has no models"
                             : fmt::format("this store has no such model; it has {}", others));
}

Manifest Store::ReadManifest(const fs::path& path) const {
  RequireInside(path);
  std::vector<Manifest> manifests =
      ParseManifests(ReadTextFile(path, kMaxManifestBytes), path.string());
  const auto chosen = std::find_if(manifests.begin(), manifests.end(), HoldsGguf);
  if (chosen == manifests.end()) {
    throw Error(ErrorCode::kUnsupported, {path.string(), {}, {}},
                "none of the manifests in this list is for a GGUF");
  }
  if (chosen->reference.empty()) return std::move(*chosen);
  const fs::path blob = ExistingBlob(chosen->reference);
  manifests = ParseManifests(ReadTextFile(blob, kMaxManifestBytes), blob.string());
  if (manifests.size() != 1 || !manifests.front().reference.empty()) {
    throw Error(ErrorCode::kBadValue, {blob.string(), {}, {}},
                "a list of manifests inside another; Ollama does not read that either");
  }
  return std::move(manifests.front());
}

fs::path Store::BlobPath(std::string_view digest) const {
  return root_ / kBlobFolder / fmt::format("sha256-{}", digest);
}

fs::path Store::ExistingBlob(std::string_view digest) const {
  fs::path path = BlobPath(digest);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw Error(ErrorCode::kMissing, {path.string(), {}, {}},
                "the manifest names this blob and the store lacks it; pull the model again");
  }
  RequireInside(path);
  return path;
}

void Store::RequireInside(const fs::path& path) const {
  std::error_code error;  // a link to itself: the path is empty then
  const fs::path inside = fs::weakly_canonical(path, error).lexically_relative(root_);
  if (!inside.empty() && *inside.begin() != "..") return;
  throw Error(ErrorCode::kUnsafe, {path.string(), {}, {}},
              "this link leads out of the store and is not followed");
}

}  // namespace quern::formats::ollama
