#include "formats/lfs/lfs_pointer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "formats/core/error.h"

namespace quern::formats::lfs {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersion = "version https://git-lfs.github.com/spec/v1\n";
constexpr std::string_view kFamily = "version https://git-lfs";  // of every version
constexpr std::string_view kHash = "sha256:";
constexpr std::string_view kAgain = "run `git lfs pull` again";
constexpr uint64_t kMaxGitFileBytes = 4096;
constexpr size_t kOidDigits = 64;

bool IsOid(std::string_view text) {
  return text.size() == kOidDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// "key value" out of the next line of `rest`, which loses it.
std::pair<std::string_view, std::string_view> NextLine(std::string_view& rest) {
  const size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  const size_t space = line.find(' ');
  if (space == line.npos) return {line, {}};
  return {line.substr(0, space), line.substr(space + 1)};
}

void ParseLine(std::string_view key, std::string_view value, std::string_view file,
               Pointer& pointer, bool& has_size) {
  const auto fail = [&](ErrorCode code, std::string_view what) {
    return Error(code, {std::string(file), {}, Printable(key, 40)},
                 fmt::format("{} in a git-LFS pointer; {}", what, kAgain));
  };
  if (key == "oid") {
    if (!pointer.oid.empty()) throw fail(ErrorCode::kBadText, "a second oid");
    if (!value.starts_with(kHash) || !IsOid(value.substr(kHash.size()))) {
      throw fail(ErrorCode::kBadValue, "no \"sha256:\" with 64 lower-case hexadecimal digits");
    }
    pointer.oid = value.substr(kHash.size());
  } else if (key == "size") {
    if (has_size) throw fail(ErrorCode::kBadText, "a second size");
    const char* end = value.data() + value.size();
    const auto [stopped, error] = std::from_chars(value.data(), end, pointer.size);
    if (error != std::errc() || stopped != end) throw fail(ErrorCode::kBadValue, "no size");
    has_size = true;
  } else if (!key.starts_with("ext-")) {
    throw fail(ErrorCode::kBadText, "an unknown line");
  }
}

// The first line of a small text file of git's, without `prefix`; empty where it is not that.
std::string ReadGitLine(const fs::path& path, std::string_view prefix) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return {};
  std::string text = ReadTextFile(path, kMaxGitFileBytes);
  if (!text.starts_with(prefix)) return {};
  text.erase(0, prefix.size());
  text.erase(std::min(text.find_first_of("\r\n"), text.size()));
  return text;
}

// The folder that holds lfs/: .git itself, what the file .git names, or, of a worktree, the
// repository that all worktrees share.
fs::path GitFolder(const fs::path& dot_git) {
  std::error_code ignored;
  if (fs::is_directory(dot_git, ignored)) return dot_git;
  const std::string named = ReadGitLine(dot_git, "gitdir: ");
  if (named.empty()) return {};
  const fs::path folder = dot_git.parent_path() / named;
  const std::string common = ReadGitLine(folder / "commondir", "");
  return common.empty() ? folder : folder / common;
}

void RequireInside(const fs::path& object, const fs::path& objects) {
  std::error_code error;  // a link to itself: the path is empty then
  const fs::path inside =
      fs::weakly_canonical(object, error).lexically_relative(fs::weakly_canonical(objects, error));
  if (!inside.empty() && *inside.begin() != "..") return;
  throw Error(ErrorCode::kUnsafe, {object.string(), {}, {}},
              "this link leads out of the clone's LFS objects and is not followed");
}

}  // namespace

bool IsPointer(std::string_view head) { return head.starts_with(kFamily); }

Pointer ParsePointer(std::string_view text, std::string_view file) {
  const auto fail = [&](std::string_view what) {
    return Error(ErrorCode::kBadText, {std::string(file), {}, {}},
                 fmt::format("a git-LFS pointer {}; {}", what, kAgain));
  };
  if (!text.starts_with(kVersion)) throw fail("of a version that is not spec/v1");
  if (text.size() >= kMaxPointerBytes) throw fail("of 1024 bytes or more");
  Pointer pointer;
  bool has_size = false;
  for (std::string_view rest = text.substr(kVersion.size()); !rest.empty();) {
    const auto [key, value] = NextLine(rest);
    ParseLine(key, value, file, pointer, has_size);
  }
  if (pointer.oid.empty() || !has_size) throw fail("without oid or size");
  return pointer;
}

std::optional<Pointer> ReadPointer(const fs::path& path) {
  const File file = File::Open(path);
  std::string text(std::min(file.size(), kMaxPointerBytes), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  if (!IsPointer(text)) return {};
  return ParsePointer(text, file.path());
}

std::optional<fs::path> FindObjects(const fs::path& path) {
  const fs::path absolute = fs::absolute(path).lexically_normal();
  for (fs::path folder = absolute.parent_path();; folder = folder.parent_path()) {
    std::error_code ignored;
    if (fs::exists(folder / ".git", ignored)) {
      const fs::path git = GitFolder(folder / ".git");
      if (git.empty()) return {};
      return (git / "lfs" / "objects").lexically_normal();
    }
    if (folder == folder.parent_path()) return {};
  }
}

fs::path ObjectPath(const fs::path& objects, std::string_view oid) {
  return objects / oid.substr(0, 2) / oid.substr(2, 2) / oid;
}

fs::path Resolve(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return path;
  const auto pointer = ReadPointer(path);
  if (!pointer) return path;
  const auto objects = FindObjects(path);
  if (!objects) return path;
  const fs::path object = ObjectPath(*objects, pointer->oid);
  if (!fs::exists(object, ignored)) return path;
  RequireInside(object, *objects);
  const uint64_t size = File::Open(object).size();
  if (size != pointer->size) {
    throw Error(ErrorCode::kMismatch, {object.string(), {}, {}},
                fmt::format("the object has {} bytes and the pointer {} promises {}; run "
                            "`git lfs fsck` and fetch it again",
                            size, path.string(), pointer->size));
  }
  return object;
}

File OpenFile(const fs::path& path) {
  File file = File::Open(Resolve(path));
  if (file.size() < kMaxPointerBytes && ReadPointer(file.path())) {
    throw Error(ErrorCode::kMissing, {path.string(), {}, {}},
                "this is a git-LFS pointer, not the file itself; run `git lfs pull`");
  }
  return file;
}

}  // namespace quern::formats::lfs
