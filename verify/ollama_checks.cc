// Ollama stores: every blob against its name, every manifest against its blobs.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "formats/core/file.h"
#include "verify/store_checks.h"
#include "verify/structure.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using formats::ollama::Layer;
using formats::ollama::Manifest;
using formats::ollama::Store;

constexpr std::string_view kBlobPrefix = "sha256-";
constexpr std::string_view kPartial = "-partial";

bool IsWeights(const Layer& layer) { return layer.kind() == "model"; }

// A layer that is a model file.
bool HoldsModel(const Layer& layer) {
  return IsWeights(layer) || layer.kind() == "projector" || layer.kind() == "adapter";
}

class StoreCheck {
 public:
  StoreCheck(const Store& store, const CheckOptions& options, CheckList& list)
      : store_(store), options_(options), list_(list) {}

  void CheckManifest(const fs::path& path) {
    if (!IsInside(path, store_.root())) {
      list_.Report(path, kUnsafePath, "this link leads out of the store and is not followed");
      complete_ = false;
      return;
    }
    try {
      CheckManifestText(path, 0);
      list_.CountItem();
    } catch (const Error& error) {
      list_.Report(error, path);
      complete_ = false;
    }
  }

  void CheckAllManifests() {
    for (const char* folder : {"manifests", "manifests-v2"}) {
      for (const fs::path& path : ListTree(store_.root() / folder, list_)) {
        if (path.filename().string().starts_with('.')) continue;  // .DS_Store
        if (ReportLeftover(path)) continue;
        CheckPlace(path, store_.root() / folder);
      }
    }
  }

  void CheckAllBlobs() {
    std::set<std::string> partial;
    for (const fs::path& path : ListFolder(store_.root() / "blobs")) {
      const std::string name = path.filename().string();
      if (name.starts_with('.') || ReportLeftover(path)) continue;
      const size_t at = name.find(kPartial);
      if (name.starts_with(kBlobPrefix) && at != name.npos) {
        // sha256-HEX-partial and its parts, -partial-0 and so on: one download
        if (!partial.insert(name.substr(0, at)).second) continue;
        list_.Report(path, kIncomplete, "this download did not finish; pull the model again");
        continue;
      }
      CheckBlob(path);
      CheckReferred(path);
    }
    if (!complete_) {
      list_.Note("blobs that no manifest names were not looked for: a manifest cannot be read");
    }
  }

  void CheckBlob(const fs::path& path) {
    const std::string name = path.filename().string();
    const std::string digest = name.starts_with(kBlobPrefix) ? name.substr(kBlobPrefix.size()) : "";
    if (!IsDigest(DigestKind::kSha256, digest)) {
      list_.Report(path, kBadName, "a blob is named sha256- and 64 lower-case digits");
      return;
    }
    if (!IsUsable(path)) return;
    FileCheck& check = list_.Add(path);
    check.Expect({DigestKind::kSha256, digest,
                  check.path == path ? "its name" : fmt::format("the link {}", name)});
  }

 private:
  // What an import of quern's that was killed leaves behind.
  bool ReportLeftover(const fs::path& path) {
    if (path.extension() != ".partial") return false;
    list_.Report(path, kIncomplete, "this import did not finish; import again and remove the file");
    return true;
  }

  void CheckPlace(const fs::path& path, const fs::path& folder) {
    if (!formats::ollama::ModelNameFromPath(path.lexically_relative(folder))) {
      list_.Report(path, kBadName,
                   "a manifest's place is HOST/NAMESPACE/MODEL/TAG; Ollama does not see this one");
    }
    CheckManifest(path);
  }

  // Of a list, all members: the store has to hold what any of them names.
  void CheckManifestText(const fs::path& path, int depth) {
    const std::string text = ReadTextFile(path, formats::ollama::kMaxManifestBytes);
    for (const Manifest& manifest : formats::ollama::ParseManifests(text, path.string())) {
      if (!manifest.reference.empty()) {
        const fs::path blob = store_.BlobPath(manifest.reference);
        referred_.insert(manifest.reference);
        if (depth == 0 && RequireBlob(path, manifest.reference)) CheckManifestText(blob, 1);
        continue;
      }
      CheckLayers(path, manifest);
    }
  }

  bool RequireBlob(const fs::path& manifest, const std::string& digest) {
    const fs::path blob = store_.BlobPath(digest);
    std::error_code ignored;
    if (fs::exists(blob, ignored) || fs::is_symlink(blob, ignored)) {
      CheckBlob(blob);
      return IsUsable(blob);
    }
    list_.Report(blob, kMissingFile,
                 fmt::format("{} names this blob and the store lacks it; pull the model again",
                             NameOf(manifest)));
    return false;
  }

  // Several layers of kind "model" are the shards of one split GGUF.
  void CheckLayers(const fs::path& path, const Manifest& manifest) {
    CheckLayer(path, manifest.config);
    const bool is_split = std::count_if(manifest.layers.begin(), manifest.layers.end(),
                                        [](const Layer& layer) { return IsWeights(layer); }) > 1;
    std::vector<formats::gguf::Part> shards;
    std::string digests;
    bool whole = true;
    for (const Layer& layer : manifest.layers) {
      const bool usable = CheckLayer(path, layer);
      const fs::path blob = store_.BlobPath(layer.digest);
      if (is_split && IsWeights(layer)) {
        shards.push_back({.path = blob});
        digests += layer.digest;
        whole = usable && CheckWeights(blob, true) && whole;
      } else if (usable && HoldsModel(layer) && opened_.insert(layer.digest).second) {
        CheckWeights(blob, false);
      }
    }
    if (is_split && whole && opened_.insert(digests).second) CheckGgufSet(path, shards, list_);
  }

  // Of a shard, the header only. Whether it could be read.
  bool CheckWeights(const fs::path& blob, bool is_shard) {
    try {
      if (ReportNotWeights(blob, false, list_)) return false;
      if (!is_shard) return CheckModel(blob, options_.open, list_);
      IsGgufShard(blob);
      return true;
    } catch (const Error& error) {
      list_.Report(error, blob);
      return false;
    }
  }

  // Whether there is a blob that may be opened.
  bool CheckLayer(const fs::path& manifest, const Layer& layer) {
    referred_.insert(layer.digest);
    if (!RequireBlob(manifest, layer.digest)) return false;
    const fs::path blob = store_.BlobPath(layer.digest);
    const uint64_t size = list_.Add(blob).bytes;
    if (size != layer.size) {
      list_.Report(blob, kSize,
                   fmt::format("has {} bytes and should have {}, says {}; pull the model again",
                               size, layer.size, NameOf(manifest)));
    }
    return true;
  }

  // Whether it may be opened; reports why not, once.
  bool IsUsable(const fs::path& blob) {
    std::error_code ignored;
    if (!fs::exists(blob, ignored)) {
      list_.Report(blob, kDangling, "this link leads to nothing; pull the model again");
      return false;
    }
    if (!IsInside(blob, store_.root())) {
      list_.Report(blob, kUnsafePath, "this link leads out of the store and is not followed");
      return false;
    }
    if (IsFile(blob)) return true;
    list_.Report(blob, kBadName, "this is no file");
    return false;
  }

  void CheckReferred(const fs::path& path) {
    const std::string name = path.filename().string();
    if (!complete_ || !name.starts_with(kBlobPrefix)) return;
    if (referred_.contains(name.substr(kBlobPrefix.size()))) return;
    list_.AddOrphan(path);
    if (options_.allow_orphans) return;
    list_.Report(path, kOrphan,
                 fmt::format("no manifest names this blob of {} bytes; Ollama removes it when it "
                             "starts, or a model has lost its manifest",
                             list_.orphans().back().bytes));
  }

  std::string NameOf(const fs::path& manifest) const {
    return manifest.lexically_relative(store_.root()).string();
  }

  const Store& store_;
  const CheckOptions& options_;
  CheckList& list_;
  std::set<std::string> referred_;  // digests
  std::set<std::string> opened_;    // as models
  bool complete_ = true;            // every manifest could be read
};

}  // namespace

bool IsOllamaStore(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_directory(folder / "blobs", ignored) &&
         (fs::is_directory(folder / "manifests", ignored) ||
          fs::is_directory(folder / "manifests-v2", ignored));
}

void CheckOllamaStore(const fs::path& folder, const CheckOptions& options, CheckList& list) {
  const Store store(folder);
  StoreCheck check(store, options, list);
  list.CountItem();
  check.CheckAllManifests();
  check.CheckAllBlobs();
}

void CheckOllamaModel(const Store& store, const fs::path& manifest, const CheckOptions& options,
                      CheckList& list) {
  StoreCheck(store, options, list).CheckManifest(manifest);
}

void CheckOllamaBlob(const fs::path& blob, const CheckOptions& options, CheckList& list) {
  const Store store = Store::Around(blob);
  const size_t before = list.problems().size();
  StoreCheck(store, options, list).CheckBlob(blob);
  if (list.problems().size() > before) return;
  const std::string head = [&] {
    std::string text(4, '\0');
    const File file = File::Open(blob);
    if (file.size() < text.size()) return std::string();
    file.ReadAt(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    return text;
  }();
  if (head == "GGUF") CheckNamelessModel(blob, options.open, list);
}

}  // namespace quern::verify
