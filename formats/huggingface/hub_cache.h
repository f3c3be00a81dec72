// The local cache of the Hugging Face hub, as huggingface_hub lays it out:
//
//   models--ORG--NAME/refs/REV             the commit that a branch, tag or pull request stands for
//   models--ORG--NAME/snapshots/COMMIT/    the files of a commit, links to
//   models--ORG--NAME/blobs/HASH           SHA-256 of an LFS file, git's SHA-1 of any other
// Source: huggingface_hub, docs "Understand caching". Nothing is downloaded. Links that leave the
// model's folder are kUnsafe. Non-goals: data sets, spaces, hashing (verify/).
#ifndef QUERN_FORMATS_HUGGINGFACE_HUB_CACHE_H_
#define QUERN_FORMATS_HUGGINGFACE_HUB_CACHE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quern::formats::huggingface {

// ORG/NAME[@REV]; a model without organization ("gpt2") has no ORG/. Parts are what the hub allows:
// 1 to 96 letters, digits, '-', '_' and '.', without "--" or "..", no '-' or '.' at either end. REV
// may have folders (refs/pr/1), none of them starting with a dot.
struct HubModel {
  std::string id;        // ORG/NAME
  std::string revision;  // empty: main, or the only snapshot
};

// Throws kUsage.
HubModel ParseHubModel(std::string_view text);

class HubCache {
 public:
  // Throws kMissing where `root` is no folder.
  explicit HubCache(const std::filesystem::path& root);

  // The first that there is of $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
  // $XDG_CACHE_HOME/huggingface/hub and ~/.cache/huggingface/hub; one that is set is the only one
  // that counts. Throws kMissing, naming it.
  static HubCache Find();

  const std::filesystem::path& root() const { return root_; }

  struct Entry {
    std::string id;              // ORG/NAME
    std::filesystem::path path;  // models--ORG--NAME
  };
  std::vector<Entry> Models() const;  // by id

  // The snapshot of `model`: REV as a ref, else as a commit or the beginning of exactly one (7
  // digits at least). Throws kMissing (naming what is there), kBadValue (a ref that holds no
  // commit), kUsage (an abbreviation of several commits), kUnsafe.
  std::filesystem::path Snapshot(const HubModel& model) const;

 private:
  std::filesystem::path root_;
};

}  // namespace quern::formats::huggingface

#endif  // QUERN_FORMATS_HUGGINGFACE_HUB_CACHE_H_
