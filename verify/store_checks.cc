#include "verify/store_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "formats/address.h"
#include "formats/core/file.h"
#include "formats/gguf/gguf_split.h"
#include "verify/structure.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

bool IsFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void CheckFolder(const fs::path& folder, const CheckOptions& options, CheckList& list);

// A folder that cannot be listed does not hide the next.
void CheckFolderBelow(const fs::path& folder, const CheckOptions& options, CheckList& list) {
  try {
    CheckFolder(folder, options, list);
  } catch (const Error& error) {
    list.Report(error, folder);
  }
}

void CheckFolder(const fs::path& folder, const CheckOptions& options, CheckList& list) {
  if (IsOllamaStore(folder)) return CheckOllamaStore(folder, options, list);
  if (IsHubRepository(folder)) return CheckHubRepository(folder, options, list);
  if (IsGitClone(folder)) return CheckGitClone(folder, options, list);
  std::vector<fs::path> files;
  for (const fs::path& entry : ListFolder(folder)) {
    if (IsFolder(entry)) {
      // A hidden folder holds caches and settings of programs, not models.
      const bool hidden = entry.filename().string().starts_with('.');
      if (!hidden && IsRealFolder(entry)) CheckFolderBelow(entry, options, list);
    } else {
      files.push_back(entry);
    }
  }
  for (const fs::path& file : files) {
    if (IsChecksumList(file)) CheckChecksumList(file, list);
  }
  CheckModelFiles(folder, files, true, options, list);
}

// FILE.sha256, SHA256SUMS beside a file that the user named: what they say of it counts.
void AddListsBeside(const fs::path& path, CheckList& list) {
  const fs::path folder = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  CheckList beside;
  for (const fs::path& entry : ListFolder(folder)) {
    const bool of_folder = entry.stem() != path.stem() && entry.stem() != path.filename();
    if (!IsFile(entry) || !IsChecksumList(entry)) continue;
    if (of_folder && entry.extension() == ".sha256") continue;
    CheckChecksumList(entry, beside);
  }
  FileCheck& wanted = list.Add(path);
  for (const auto& [canonical, check] : beside.files()) {
    std::error_code ignored;
    if (canonical != fs::weakly_canonical(path, ignored)) continue;
    for (const ExpectedDigest& digest : check.digests) wanted.Expect(digest);
  }
}

// A snapshot's folder or file: .../models--ORG--NAME/snapshots/REVISION/...
std::optional<fs::path> SnapshotAround(const fs::path& path) {
  const fs::path absolute = fs::absolute(path).lexically_normal();
  for (fs::path at = absolute; at.has_relative_path(); at = at.parent_path()) {
    if (at.parent_path().filename() == "snapshots" &&
        IsHubRepository(at.parent_path().parent_path())) {
      return at;
    }
  }
  return std::nullopt;
}

// A file in a hub's cache, by its own path or as what a link leads to: whether it may be opened.
// Absent for a file that is in none.
std::optional<bool> CheckFileOfHub(const fs::path& path, const CheckOptions& options,
                                   CheckList& list) {
  std::error_code ignored;
  for (const fs::path& at :
       {fs::absolute(path).lexically_normal(), fs::weakly_canonical(path, ignored)}) {
    if (const auto repository = HubRepositoryAround(at)) {
      return CheckHubFile(*repository, at, options, list);
    }
  }
  return std::nullopt;
}

// Whether a file of a hub's cache is a model's. Blobs have no ending to tell.
bool HoldsWeights(const fs::path& path) {
  if (IsWeightFileName(path)) return true;
  const File file = File::Open(path);
  std::string head(std::min<uint64_t>(file.size(), 9), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  const bool is_safetensors = head.size() == 9 && head[8] == '{' && head[7] == '\0';
  return head.starts_with("GGUF") || head.starts_with("PK") || is_safetensors;
}

void CheckFile(const fs::path& path, const CheckOptions& options, CheckList& list) {
  if (IsChecksumList(path)) return CheckChecksumList(path, list);
  const fs::path absolute = fs::absolute(path).lexically_normal();
  if (absolute.parent_path().filename() == "blobs" &&
      IsOllamaStore(absolute.parent_path().parent_path())) {
    return CheckOllamaBlob(path, options, list);
  }
  try {
    const auto store = formats::ollama::Store::Around(path);
    for (const auto& model : store.Models()) {
      std::error_code ignored;
      if (fs::equivalent(model.path, path, ignored)) {
        return CheckOllamaModel(store, model.path, options, list);
      }
    }
  } catch (const Error&) {  // in no store
  }
  list.Add(path);
  AddListsBeside(path, list);
  if (CheckLfsPointer(path, options, list)) return;
  const auto is_usable = CheckFileOfHub(path, options, list);
  if (is_usable && (!*is_usable || !HoldsWeights(path))) return;
  if (ReportNotWeights(path, false, list)) return;
  if (IsWeightFileName(path)) {
    CheckModel(path, options.open, list);
  } else {
    CheckNamelessModel(path, options.open, list);
  }
}

// Whether a file by this name says that its folder is one model.
bool SaysModel(const std::string& name) {
  return name == "config.json" || name == "params.json" || name.ends_with(".index.json") ||
         name == "lit_config.json" || name == "model_config.yaml";
}

bool RequireFile(const fs::path& path, CheckList& list) {
  std::error_code ignored;
  if (IsFile(path)) return true;
  if (fs::is_symlink(path, ignored)) {
    list.Report(path, kDangling, "this link leads to nothing; fetch the file again");
  }
  return false;
}

// One file by itself: of a shard of a split GGUF, the header only. Whether it could be read.
bool CheckWeightFile(const fs::path& path, bool is_shard, const CheckOptions& options,
                     CheckList& list) {
  try {
    if (CheckLfsPointer(path, options, list) || ReportNotWeights(path, false, list)) return false;
    if (path.extension() == ".safetensors") return CheckSafetensors(path, list);
    // Others may be anything (training_args.bin); the folder's reader knows which count.
    if (path.extension() != ".gguf") return true;
    if (!is_shard) return CheckModel(path, options.open, list);
    IsGgufShard(path);
    return true;
  } catch (const Error& error) {
    list.Report(error, path);
    return false;
  }
}

}  // namespace

bool IsInside(const fs::path& path, const fs::path& folder) {
  std::error_code error;
  const fs::path inside =
      fs::weakly_canonical(path, error).lexically_relative(fs::weakly_canonical(folder, error));
  return !error && !inside.empty() && *inside.begin() != "..";
}

std::vector<fs::path> ListFolder(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    entries.push_back(at->path());
  }
  if (error) {
    throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                fmt::format("cannot list: {}", error.message()));
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<fs::path> ListTree(const fs::path& folder, CheckList& list) {
  std::vector<fs::path> files;
  if (!IsFolder(folder)) return files;
  try {
    for (const fs::path& path : ListFolder(folder)) {
      if (!IsRealFolder(path)) {
        files.push_back(path);
        continue;
      }
      const auto below = ListTree(path, list);
      files.insert(files.end(), below.begin(), below.end());
    }
  } catch (const Error& error) {
    list.Report(error, folder);
  }
  return files;
}

bool IsRealFolder(const fs::path& path) {
  std::error_code ignored;
  return !fs::is_symlink(path, ignored) && fs::is_directory(path, ignored);
}

bool IsFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

void CheckModelFiles(const fs::path& folder, const std::vector<fs::path>& paths, bool whole,
                     const CheckOptions& options, CheckList& list) {
  bool is_model = false;
  bool has_weights = false;
  bool broken = false;
  bool only_gguf = true;  // each of which is a model by itself or one of a set
  std::map<std::string, std::pair<fs::path, bool>> sets;  // a shard, and whether all are readable
  for (const fs::path& path : paths) {
    const std::string name = path.filename().string();
    is_model |= SaysModel(name);
    only_gguf &= !name.ends_with(".index.json");
    if (name.starts_with('.') || !IsWeightFileName(path) || !RequireFile(path, list)) continue;
    list.Add(path);
    only_gguf &= path.extension() == ".gguf";
    has_weights = true;
    const auto shard = formats::gguf::ParseShardName(name);
    const bool readable = CheckWeightFile(path, shard.has_value(), options, list);
    broken |= !readable;
    if (!shard) continue;
    const std::string set = formats::gguf::MakeShardName({shard->prefix, 1, shard->count});
    const auto at = sets.try_emplace(set, path, true).first;
    at->second.second &= readable;
  }
  for (const auto& [set, shard] : sets) {
    if (shard.second) broken |= !CheckModel(shard.first, options.open, list);
  }
  if (whole && is_model && !broken && !(has_weights && only_gguf))
    CheckModel(folder, options.open, list);
}

void CheckAddress(const std::string& address, const CheckOptions& options, CheckList& list) {
  const size_t before = list.checked();
  const size_t problems = list.problems().size();
  const fs::path path = formats::ResolveAddress(address, options.open);
  if (IsFolder(path)) {
    const auto snapshot = SnapshotAround(path);
    if (snapshot) {
      CheckHubSnapshot(*snapshot, options, list);
    } else {
      CheckFolder(path, options, list);
    }
  } else if (IsFile(path)) {
    CheckFile(path, options, list);
  } else {
    throw Error(ErrorCode::kMissing, {address, {}, {}}, "there is no such file or folder");
  }
  if (list.checked() == before && list.problems().size() == problems) {
    throw Error(ErrorCode::kUsage, {address, {}, {}},
                "there is nothing here that can be checked: no model, store, cache or list of "
                "checksums");
  }
}

}  // namespace quern::verify
