#include "formats/huggingface/hub_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern::formats::huggingface {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";
constexpr std::string_view kMain = "main";
constexpr size_t kCommitDigits = 40, kShortestCommit = 7, kMaxPartBytes = 96, kMaxRefBytes = 256;

bool IsFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

bool IsPart(std::string_view part) {
  constexpr std::string_view kNotAtEnds = "-.";
  return !part.empty() && part.size() <= kMaxPartBytes &&
         std::all_of(part.begin(), part.end(), IsNameCharacter) &&
         kNotAtEnds.find(part.front()) == kNotAtEnds.npos &&
         kNotAtEnds.find(part.back()) == kNotAtEnds.npos && part.find("--") == part.npos &&
         part.find("..") == part.npos;
}

bool IsRevision(std::string_view text) {
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    if (part.empty() || part.front() == '.') return false;
    begin = end + 1;
  }
  return text.size() <= kMaxRefBytes && text.find('\0') == text.npos;
}

std::vector<std::string> FoldersIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    if (IsFolder(at->path())) names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The commit in refs/REV.
std::optional<std::string> ReadRef(const fs::path& model, const std::string& revision) {
  const fs::path path = model / "refs" / revision;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return {};
  std::string commit = ReadTextFile(path, kMaxRefBytes);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r')) commit.pop_back();
  if (commit.size() == kCommitDigits && IsHex(commit)) return commit;
  throw Error(ErrorCode::kBadValue, {path.string(), {}, {}},
              fmt::format("\"{}\" is no commit (40 hexadecimal digits); download the model again",
                          Printable(commit, 80)));
}

// The only one of `snapshots` that begins with `text`.
std::optional<std::string> FindCommit(const std::vector<std::string>& snapshots,
                                      const std::string& text, const Where& where) {
  if (text.size() < kShortestCommit || !IsHex(text)) return {};
  std::vector<std::string> found;
  std::copy_if(snapshots.begin(), snapshots.end(), std::back_inserter(found),
               [&](const std::string& name) { return name.starts_with(text); });
  if (found.size() > 1) {
    throw Error(ErrorCode::kUsage, where,
                fmt::format("the beginning of several commits: {}; write more of it",
                            fmt::join(found, ", ")));
  }
  return found.empty() ? std::nullopt : std::optional(found.front());
}

void RequireInside(const fs::path& path, const fs::path& root) {
  std::error_code error;  // a link to itself: the path is empty then
  const fs::path inside = fs::weakly_canonical(path, error).lexically_relative(root);
  if (!inside.empty() && *inside.begin() != "..") return;
  throw Error(ErrorCode::kUnsafe, {path.string(), {}, {}},
              "this link leads out of the cache and is not followed");
}

// The part of the environment that decides, and the folder that it names.
fs::path UsualPlace() {
  struct Variable {
    const char* name;
    const char* below;
  };
  constexpr Variable kVariables[] = {{"HF_HUB_CACHE", ""},
                                     {"HUGGINGFACE_HUB_CACHE", ""},
                                     {"HF_HOME", "hub"},
                                     {"XDG_CACHE_HOME", "huggingface/hub"},
                                     {"HOME", ".cache/huggingface/hub"}};
  for (const Variable& variable : kVariables) {
    const char* value = std::getenv(variable.name);
    if (value == nullptr || *value == '\0') continue;
    return *variable.below ? fs::path(value) / variable.below : fs::path(value);
  }
  return {};
}

}  // namespace

HubModel ParseHubModel(std::string_view text) {
  HubModel model;
  const size_t at = text.find('@');
  model.id = text.substr(0, at);
  if (at != text.npos) model.revision = text.substr(at + 1);
  const size_t slash = model.id.find('/');
  const std::string_view id = model.id;
  const bool valid =
      slash == id.npos ? IsPart(id) : IsPart(id.substr(0, slash)) && IsPart(id.substr(slash + 1));
  if (valid && (at == text.npos || IsRevision(model.revision))) return model;
  throw Error(ErrorCode::kUsage, {{}, {}, Printable(text)},
              "this is no name of a model on the Hugging Face hub; write ORG/NAME[@REVISION]");
}

HubCache::HubCache(const fs::path& root) {
  std::error_code error;
  root_ = fs::weakly_canonical(root, error);
  if (error || !IsFolder(root)) {
    throw Error(ErrorCode::kMissing, {root.string(), {}, {}},
                "there is no Hugging Face cache here; set HF_HUB_CACHE, or download the model "
                "with `hf download` first");
  }
}

HubCache HubCache::Find() { return HubCache(UsualPlace()); }

std::vector<HubCache::Entry> HubCache::Models() const {
  std::vector<Entry> models;
  for (const std::string& name : FoldersIn(root_)) {
    if (!name.starts_with(kPrefix)) continue;
    std::string id = name.substr(kPrefix.size());
    if (const size_t dashes = id.find("--"); dashes != id.npos) id.replace(dashes, 2, "/");
    models.push_back({id, root_ / name});
  }
  std::sort(models.begin(), models.end(),
            [](const Entry& a, const Entry& b) { return a.id < b.id; });
  return models;
}

fs::path HubCache::Snapshot(const HubModel& model) const {
  std::string name = model.id;
  if (const size_t slash = name.find('/'); slash != name.npos) name.replace(slash, 1, "--");
  const fs::path folder = root_ / (std::string(kPrefix) + name);
  const Where where{root_.string(), {}, model.id};
  if (!IsFolder(folder)) {
    std::string others;
    for (const Entry& entry : Models()) others += (others.empty() ? "" : ", ") + entry.id;
    throw Error(ErrorCode::kMissing, where,
                fmt::format("this cache has no such model; it has {}; download it with `hf "
                            "download` first",
                            others.empty() ? "none" : Printable(others, 1000)));
  }
  const auto snapshots = FoldersIn(folder / "snapshots");
  const std::string revision = model.revision.empty() ? std::string(kMain) : model.revision;
  auto commit = ReadRef(folder, revision);
  if (!commit) commit = FindCommit(snapshots, revision, where);
  if (!commit && model.revision.empty() && snapshots.size() == 1) commit = snapshots.front();
  if (!commit || !IsFolder(folder / "snapshots" / *commit)) {
    throw Error(
        ErrorCode::kMissing, where,
        fmt::format("the cache has no snapshot of {}; it has {}", Printable(revision),
                    snapshots.empty() ? "none" : fmt::format("{}", fmt::join(snapshots, ", "))));
  }
  const fs::path snapshot = folder / "snapshots" / *commit;
  RequireInside(snapshot, root_);
  std::error_code error;
  fs::recursive_directory_iterator it(snapshot, error);
  for (; !error && it != fs::end(it); it.increment(error)) RequireInside(it->path(), root_);
  return snapshot;
}

}  // namespace quern::formats::huggingface
