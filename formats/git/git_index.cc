#include "formats/git/git_index.h"

#include <fmt/format.h>

#include <array>

#include "formats/core/error.h"

namespace quern::formats::git {
namespace {

constexpr uint64_t kFixedBytes = 62;
constexpr uint64_t kExtensionBytes = 8, kChecksumBytes = 20;
constexpr uint64_t kMaxNameBytes = 4096;
constexpr uint64_t kMaxNamesBytes = uint64_t{256} << 20;
constexpr uint16_t kExtended = 0x4000, kStage = 0x3000;
constexpr uint16_t kSkipWorktree = 0x4000, kIntentToAdd = 0x2000;

// Git's own rule for names in an index.
bool IsSafe(std::string_view name) {
  if (name.empty() || name.front() == '/') return false;
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part == ".git") return false;
    at = end + 1;
  }
  return true;
}

// The number in front of a version 4 name: 7 bits per byte, the highest first, each byte but the
// last marked; each further byte also adds one, so that no number has two forms.
uint64_t ReadOffset(ByteReader& reader) {
  auto byte = reader.Read<uint8_t>("name");
  uint64_t value = byte & 0x7f;
  while ((byte & 0x80) != 0) {
    byte = reader.Read<uint8_t>("name");
    if (value > kMaxNameBytes) throw reader.Fail(ErrorCode::kBadValue, "name", "is too long");
    value = ((value + 1) << 7) | (byte & 0x7f);
  }
  return value;
}

std::string ReadName(ByteReader& reader) {
  std::string name;
  while (const char c = reader.Read<char>("name")) {
    if (name.size() == kMaxNameBytes) {
      throw reader.Fail(ErrorCode::kBadValue, "name", "is too long; the index is damaged");
    }
    name += c;
  }
  return name;
}

IndexEntry ReadEntry(ByteReader& reader, uint32_t version, const std::string& before) {
  const uint64_t begin = reader.offset();
  reader.Skip(24, "times");
  IndexEntry entry;
  entry.mode = reader.Read<uint32_t>("mode");
  reader.Skip(12, "owner and size");
  std::array<uint8_t, 20> sha1;
  reader.ReadBytes(sha1, "SHA-1");
  entry.sha1 = fmt::format("{:02x}", fmt::join(sha1, ""));
  const auto flags = reader.Read<uint16_t>("flags");
  const auto more = (flags & kExtended) != 0 ? reader.Read<uint16_t>("flags") : uint16_t{0};
  entry.skip_worktree = (more & kSkipWorktree) != 0;
  entry.in_work_tree = (flags & kStage) == 0 && (more & (kSkipWorktree | kIntentToAdd)) == 0;
  if (version == 4) {
    const uint64_t cut = ReadOffset(reader);
    if (cut > before.size()) {
      throw reader.Fail(ErrorCode::kBadValue, "name", "takes off more than there is");
    }
    entry.path = before.substr(0, before.size() - cut) + ReadName(reader);
  } else {
    entry.path = ReadName(reader);
    while ((reader.offset() - begin) % 8 != 0) reader.Skip(1, "padding");
  }
  return entry;
}

void RequireSafe(const IndexEntry& entry, const ByteReader& reader) {
  std::string_view name = entry.path;
  if (entry.IsFolder() && name.ends_with('/')) name.remove_suffix(1);  // of a sparse index
  if (IsSafe(name)) return;
  throw reader.Fail(ErrorCode::kUnsafe, "name",
                    fmt::format("\"{}\" leaves the work tree", Printable(entry.path)));
}

void RefuseSplitIndex(ByteReader& reader) {
  while (reader.remaining() >= kExtensionBytes + kChecksumBytes) {
    if (reader.ReadString(4, "extension") == "link") {
      throw reader.Fail(ErrorCode::kUnsupported, "extension",
                        "this is a split index; `git update-index --no-split-index` joins it");
    }
    const auto bytes = reader.Read<uint32_t>("extension");
    if (bytes > reader.remaining()) return;  // no entry is in what follows
    reader.Skip(bytes, "extension");
  }
}

}  // namespace

std::vector<IndexEntry> ParseIndex(ByteReader& reader) {
  reader.set_endian(std::endian::big);
  if (reader.ReadString(4, "magic") != "DIRC") {
    throw reader.Fail(ErrorCode::kBadMagic, "magic", "this is no index of git's");
  }
  const auto version = reader.Read<uint32_t>("version");
  if (version < 2 || version > 4) {
    throw reader.Fail(ErrorCode::kBadVersion, "version",
                      fmt::format("version {} is not known; 2 to 4 are", version));
  }
  const auto count = reader.Read<uint32_t>("count");
  reader.Require(count, kFixedBytes, "count");
  std::vector<IndexEntry> entries;
  std::string before;
  uint64_t name_bytes = 0;
  for (uint32_t i = 0; i < count; ++i) {
    IndexEntry entry = ReadEntry(reader, version, before);
    before = entry.path;
    name_bytes += before.size();  // version 4 can make long names of few bytes
    if (name_bytes > kMaxNamesBytes) {
      throw reader.Fail(ErrorCode::kLimitExceeded, "name", "the names together are too long");
    }
    entries.push_back(std::move(entry));
  }
  RefuseSplitIndex(reader);  // first: entries that replace others have no names in one
  for (const IndexEntry& entry : entries) RequireSafe(entry, reader);
  return entries;
}

}  // namespace quern::formats::git
