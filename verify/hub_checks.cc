// Hugging Face caches: models--ORG--NAME/{blobs,refs,snapshots}. A blob's name is what the hub
// calls its content: SHA-256 for LFS files, git's SHA-1 for the others.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "formats/core/file.h"
#include "verify/store_checks.h"
#include "verify/structure.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kRepositoryKinds = {"models--", "datasets--", "spaces--"};
constexpr std::string_view kIncompleteSuffix = ".incomplete";

class RepositoryCheck {
 public:
  RepositoryCheck(const fs::path& folder, const CheckOptions& options, CheckList& list)
      : folder_(folder), options_(options), list_(list) {}

  void CheckSnapshots() {
    if (!RequireFolder(folder_ / "snapshots")) return;
    for (const fs::path& snapshot : ListFolder(folder_ / "snapshots")) {
      if (IsRealFolder(snapshot)) CheckSnapshot(snapshot);
    }
  }

  void CheckSnapshot(const fs::path& folder) {
    std::vector<fs::path> files;
    bool whole = true;
    for (const fs::path& path : ListFolder(folder)) {
      if (IsRealFolder(path)) {
        CheckSnapshot(path);
      } else if (CheckEntry(path)) {
        files.push_back(path);
      } else {
        whole = false;
      }
    }
    CheckModelFiles(folder, files, whole, options_, list_);
  }

  void CheckRefs() {
    for (const fs::path& path : ListTree(folder_ / "refs", list_)) {
      std::error_code ignored;
      if (!fs::is_symlink(path, ignored)) CheckRef(path);
    }
  }

  void CheckBlobs() {
    if (!RequireFolder(folder_ / "blobs")) return;
    for (const fs::path& path : ListFolder(folder_ / "blobs")) {
      const std::string name = path.filename().string();
      if (name.ends_with(kIncompleteSuffix)) {
        list_.Report(path, kIncomplete, "this download did not finish; download it again");
        continue;
      }
      if (name.ends_with(".lock") || name.starts_with('.')) continue;
      if (!CheckBlob(path, "its name")) continue;
      std::error_code ignored;
      if (!linked_.contains(fs::weakly_canonical(path, ignored)) && !has_plain_files_) {
        AddOrphan(path);
      }
    }
  }

  // A blob, or a file of a snapshot. Whether it may be opened.
  bool CheckFile(const fs::path& path) {
    return path.parent_path() == folder_ / "blobs" ? CheckBlob(path, "its name") : CheckEntry(path);
  }

 private:
  // Whether there is such a folder. A link to nothing or to itself is a problem.
  bool RequireFolder(const fs::path& folder) {
    std::error_code ignored;
    if (fs::is_directory(folder, ignored)) return true;
    if (fs::is_symlink(folder, ignored)) {
      list_.Report(folder, kDangling, "this link leads to no folder; download the model again");
    }
    return false;
  }

  // Whether it is a file that may be opened.
  bool CheckEntry(const fs::path& path) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      list_.Report(path, kDangling, "this link leads to no blob; download the file again");
      return false;
    }
    if (!IsInside(path, folder_)) {
      list_.Report(path, kUnsafePath, "this link leads out of the cache and is not followed");
      return false;
    }
    if (!IsFile(path)) return false;
    if (!fs::is_symlink(path, ignored)) {
      has_plain_files_ = true;  // a file system without links
      list_.Add(path);
      return true;
    }
    const fs::path blob = fs::weakly_canonical(path, ignored);
    linked_.insert(blob);
    const std::string said_by = fmt::format("its name (it is {})", path.filename().string());
    // The blob that the link names may be a link to another one in its turn.
    const fs::path named = folder_ / "blobs" / fs::read_symlink(path, ignored).filename();
    if (fs::equivalent(named, blob, ignored) && !CheckBlob(named, said_by)) return false;
    return CheckBlob(folder_ / "blobs" / blob.filename(), said_by);
  }

  // Whether it is a file that may be opened.
  bool CheckBlob(const fs::path& path, const std::string& said_by) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      list_.Report(path, kDangling, "this link leads to nothing; download the file again");
      return false;
    }
    if (!IsInside(path, folder_)) {
      list_.Report(path, kUnsafePath, "this link leads out of the cache and is not followed");
      return false;
    }
    if (!IsFile(path)) return false;
    const std::string name = path.filename().string();
    FileCheck& check = list_.Add(path);
    for (const DigestKind kind : {DigestKind::kSha256, DigestKind::kGitBlob}) {
      if (!IsDigest(kind, name)) continue;
      check.Expect({kind, name, said_by});
      return true;
    }
    if (unnamed_.insert(path).second) {
      list_.Note(
          fmt::format("{}: the name is no SHA-256 or git SHA-1, so nothing says what the "
                      "bytes should be",
                      path.string()));
    }
    return true;
  }

  // Of a commit of which only absent files were asked for, the cache has .no_exist/COMMIT alone.
  bool KnowsCommit(const std::string& commit) const {
    std::error_code ignored;
    return fs::is_directory(folder_ / "snapshots" / commit, ignored) ||
           fs::is_directory(folder_ / ".no_exist" / commit, ignored);
  }

  void CheckRef(const fs::path& path) {
    try {
      std::string commit = ReadTextFile(path, 4096);
      commit.erase(std::min(commit.find_first_of("\r\n \t"), commit.size()));
      list_.CountItem();
      if (!IsDigest(DigestKind::kGitBlob, commit)) {
        list_.Report(path, ErrorCodeName(ErrorCode::kBadValue),
                     "holds no commit, 40 lower-case digits; download the model again");
      } else if (!KnowsCommit(commit)) {
        list_.Report(path, kDangling,
                     fmt::format("names the snapshot {}, which is not there; download the model "
                                 "again",
                                 commit));
      }
    } catch (const Error& error) {
      list_.Report(error, path);
    }
  }

  void AddOrphan(const fs::path& path) {
    list_.AddOrphan(path);
    if (options_.allow_orphans) return;
    list_.Report(
        path, kOrphan,
        fmt::format("no snapshot links to this blob of {} bytes", list_.orphans().back().bytes));
  }

  const fs::path folder_;
  const CheckOptions& options_;
  CheckList& list_;
  std::set<fs::path> linked_;   // blobs, canonical
  std::set<fs::path> unnamed_;  // blobs of which a note was made
  bool has_plain_files_ = false;
};

}  // namespace

bool IsHubRepository(const fs::path& folder) {
  const std::string name = folder.filename().string();
  std::error_code ignored;
  return std::any_of(kRepositoryKinds.begin(), kRepositoryKinds.end(),
                     [&](std::string_view kind) { return name.starts_with(kind); }) &&
         (fs::is_directory(folder / "snapshots", ignored) ||
          fs::is_directory(folder / "blobs", ignored));
}

void CheckHubRepository(const fs::path& folder, const CheckOptions& options, CheckList& list) {
  RepositoryCheck check(folder, options, list);
  list.CountItem();
  check.CheckSnapshots();
  check.CheckRefs();
  check.CheckBlobs();
}

void CheckHubSnapshot(const fs::path& snapshot, const CheckOptions& options, CheckList& list) {
  RepositoryCheck(snapshot.parent_path().parent_path(), options, list).CheckSnapshot(snapshot);
}

std::optional<fs::path> HubRepositoryAround(const fs::path& path) {
  for (fs::path at = path.parent_path(); at.has_relative_path(); at = at.parent_path()) {
    if (IsHubRepository(at)) return at;
  }
  return std::nullopt;
}

bool CheckHubFile(const fs::path& repository, const fs::path& path, const CheckOptions& options,
                  CheckList& list) {
  return RepositoryCheck(repository, options, list).CheckFile(path);
}

}  // namespace quern::verify
