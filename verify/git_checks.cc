// Git clones with git-LFS: files of the work tree against the index, pointers against objects,
// objects against their names. Git itself is not needed.
//
// The index has the SHA-1 of what git stores: of an LFS file that is its pointer. A pointer's text
// follows from its object's name and size, so the objects that are there tell which entries are
// LFS files, and which SHA-256 these should have.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "formats/core/byte_reader.h"
#include "formats/core/file.h"
#include "formats/git/git_index.h"
#include "formats/lfs/lfs_pointer.h"
#include "verify/store_checks.h"
#include "verify/structure.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using formats::git::IndexEntry;
using formats::lfs::Pointer;

bool IsPointerFile(const fs::path& path) {
  const File file = File::Open(path);
  if (file.size() >= formats::lfs::kMaxPointerBytes) return false;
  std::string head(file.size(), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  return formats::lfs::IsPointer(head);
}

// An object that may be opened.
void CheckObject(const fs::path& object, const Pointer& pointer, const fs::path& path,
                 const CheckOptions& options, CheckList& list) {
  FileCheck& check = list.Add(object);
  check.Expect({DigestKind::kSha256, pointer.oid, "its name"});
  check.size = pointer.size;
  check.size_said_by = path.string();
  if (!IsWeightFileName(path) || ReportNotWeights(object, false, list)) return;
  CheckNamelessModel(object, options.open, list);
}

class CloneCheck {
 public:
  CloneCheck(const fs::path& folder, const CheckOptions& options, CheckList& list)
      : folder_(folder),
        objects_(folder / ".git" / "lfs" / "objects"),
        options_(options),
        list_(list) {}

  void CheckObjects() {
    for (const fs::path& path : ListTree(objects_, list_)) {
      const std::string name = path.filename().string();
      if (!IsDigest(DigestKind::kSha256, name) ||
          path != formats::lfs::ObjectPath(objects_, name)) {
        list_.Report(path, kBadName, "an LFS object is objects/HE/XX/HEX, named by its SHA-256");
        continue;
      }
      if (!RequireUsable(path)) continue;
      FileCheck& check = list_.Add(path);
      check.Expect({DigestKind::kSha256, name, "its name"});
      by_pointer_[PointerDigest(name, check.bytes)] = {name, check.bytes};
    }
  }

  void CheckIndex() {
    const fs::path path = folder_ / ".git" / "index";
    if (!IsFile(path)) return list_.Note("the clone has no index: nothing is checked out");
    try {
      if (UsesSha256()) {
        return list_.Note("the clone names its contents by SHA-256; the index was not read");
      }
      const File file = File::Open(path);
      ByteReader reader(file);
      const auto entries = formats::git::ParseIndex(reader);
      list_.CountItem();
      for (const IndexEntry& entry : entries) {
        if (entry.skip_worktree) sparse_.insert((folder_ / entry.path).parent_path());
        if (entry.in_work_tree && (entry.IsFile() || entry.IsLink())) CheckEntry(entry);
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) return list_.Report(error, path);
      list_.Note(fmt::format("not checked: {}", error.what()));
    }
  }

  // Models in the work tree, tracked or not.
  void CheckModels(const fs::path& folder) {
    std::vector<fs::path> files;
    bool whole = !sparse_.contains(folder);
    for (const fs::path& path : ListFolder(folder)) {
      if (IsRealFolder(path)) {
        if (path.filename() != ".git") CheckModels(path);
      } else if (!IsFile(path) || !IsInside(path, folder_)) {
        whole = false;  // the index has it, and it was reported
      } else if (CheckLfsPointer(path, options_, list_)) {
        whole = false;
      } else {
        files.push_back(path);
        if (IsChecksumList(path)) CheckChecksumList(path, list_, folder_);
      }
    }
    CheckModelFiles(folder, files, whole, options_, list_);
  }

 private:
  bool UsesSha256() const {
    const fs::path config = folder_ / ".git" / "config";
    if (!IsFile(config)) return false;
    std::string text = ReadTextFile(config, 1 << 20);
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const size_t at = text.find("objectformat");
    return at != text.npos && text.substr(at, text.find('\n', at) - at).ends_with("sha256");
  }

  void CheckEntry(const IndexEntry& entry) {
    const fs::path path = folder_ / entry.path;
    std::error_code ignored;
    if (!fs::exists(path, ignored) && !fs::is_symlink(path, ignored)) {
      list_.Report(path, kMissingFile,
                   "git's index has this file and the work tree lacks it; check it out again");
      return;
    }
    if (!RequireUsable(path) || entry.IsLink()) return;
    FileCheck& check = list_.Add(path);
    const auto object = by_pointer_.find(entry.sha1);
    if (object == by_pointer_.end() || IsPointerFile(path)) {
      check.Expect({DigestKind::kGitBlob, entry.sha1, "git's index", true});
      return;
    }
    check.size = object->second.size;
    check.size_said_by = "its git-LFS pointer";
    check.Expect({DigestKind::kSha256, object->second.oid, "its git-LFS pointer"});
  }

  // Whether it may be opened; reports why not.
  bool RequireUsable(const fs::path& path) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      list_.Report(path, kDangling, "this link leads to nothing; check it out again");
      return false;
    }
    if (!IsInside(path, folder_)) {
      list_.Report(path, kUnsafePath, "this link leads out of the clone and is not followed");
      return false;
    }
    return IsFile(path);
  }

  const fs::path folder_;
  const fs::path objects_;
  const CheckOptions& options_;
  CheckList& list_;
  std::map<std::string, Pointer> by_pointer_;  // by the pointer's git SHA-1
  std::set<fs::path> sparse_;                  // folders with files that are not checked out
};

}  // namespace

bool IsGitClone(const fs::path& folder) { return IsRealFolder(folder / ".git"); }

bool CheckLfsPointer(const fs::path& path, const CheckOptions& options, CheckList& list) {
  try {
    if (!IsPointerFile(path)) return false;
    list.Add(path);
    const auto objects = formats::lfs::FindObjects(path);
    if (!objects) {
      list.Report(path, kLfsPointer,
                  "this is a git-LFS pointer and there is no clone around it; run `git lfs pull` "
                  "where it comes from");
      return true;
    }
    const auto pointer = formats::lfs::ReadPointer(path);
    const fs::path object = formats::lfs::ObjectPath(*objects, pointer->oid);
    std::error_code ignored;
    if (!fs::exists(object, ignored)) {
      list.Report(path, kLfsPointer,
                  fmt::format("this is a git-LFS pointer and its object {} is not there; run "
                              "`git lfs pull`",
                              pointer->oid));
    } else if (!IsInside(object, *objects)) {
      list.Report(object, kUnsafePath, "this link leads out of the clone and is not followed");
    } else if (IsFile(object)) {
      CheckObject(object, *pointer, path, options, list);
    }
  } catch (const Error& error) {
    list.Report(error, path);
  }
  return true;
}

void CheckGitClone(const fs::path& folder, const CheckOptions& options, CheckList& list) {
  // Without a slash at its end, so that paths of entries compare.
  const fs::path root = folder.has_filename() ? folder : folder.parent_path();
  CloneCheck check(root, options, list);
  list.CountItem();
  check.CheckObjects();
  check.CheckIndex();
  check.CheckModels(root);
}

}  // namespace quern::verify
