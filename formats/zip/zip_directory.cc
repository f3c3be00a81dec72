#include "formats/zip/zip_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_set>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"

namespace quern::formats::zip {
namespace {

constexpr std::string_view kEndSignature("PK\x05\x06", 4);
constexpr uint32_t kZip64EndSignature = 0x06064b50;
constexpr uint32_t kZip64LocatorSignature = 0x07064b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kZip64EndBytes = 56;
constexpr uint64_t kZip64LocatorBytes = 20;
constexpr uint64_t kCentralBytes = 46;
constexpr uint64_t kMaxComment = 0xffff;
// Flags (APPNOTE 4.4.4): 0 encrypted, 5 patched data, 6 strong encryption, 13 masked headers. No
// writer of models sets them; setting one is a way to hide a member from a scanner.
constexpr uint16_t kForbiddenFlags = 1u << 0 | 1u << 5 | 1u << 6 | 1u << 13;
// Deflate cannot do better than 1032:1 (a stored bit pair per 258 bytes); a larger claim is a lie.
constexpr uint64_t kMaxRatio = 1032;
constexpr std::string_view kMislead = "the archive is damaged or made to mislead; do not use it";

struct EndRecord {
  uint64_t disk, directory_disk, entries_here, entries, bytes, offset;
};

// Offset of the one end record whose comment reaches the end of the file.
uint64_t FindEndRecord(const File& file) {
  const uint64_t tail = std::min(file.size(), kEndBytes + kMaxComment);
  std::vector<uint8_t> bytes(tail);
  file.ReadAt(file.size() - tail, bytes);
  std::optional<uint64_t> found;
  for (uint64_t at = 0; at + kEndBytes <= tail; ++at) {
    if (std::memcmp(bytes.data() + at, kEndSignature.data(), kEndSignature.size()) != 0) continue;
    const uint64_t comment = bytes[at + 20] | uint64_t{bytes[at + 21]} << 8;
    if (at + kEndBytes + comment != tail) continue;
    if (found) {
      throw Error(ErrorCode::kDuplicate, {file.path(), file.size() - tail + at, "zip end record"},
                  fmt::format("a second end record hides in the comment; {}", kMislead));
    }
    found = file.size() - tail + at;
  }
  if (!found) {
    throw Error(ErrorCode::kTruncated, {file.path(), {}, "zip end record"},
                "the archive has no directory at its end; the file is cut short, fetch it again");
  }
  return *found;
}

EndRecord ReadEndRecord(const File& file, uint64_t at) {
  ByteReader reader(file, at + 4, at + kEndBytes);
  EndRecord end{};
  end.disk = reader.Read<uint16_t>("disk");
  end.directory_disk = reader.Read<uint16_t>("directory disk");
  end.entries_here = reader.Read<uint16_t>("entries on this disk");
  end.entries = reader.Read<uint16_t>("entries");
  end.bytes = reader.Read<uint32_t>("directory size");
  end.offset = reader.Read<uint32_t>("directory offset");
  return end;
}

// The ZIP64 record that the locator at `locator` names; it must stand right before the locator.
EndRecord ReadZip64Record(const File& file, uint64_t locator) {
  ByteReader where(file, locator + 4, locator + kZip64LocatorBytes);
  where.Skip(4, "zip64 locator");
  const uint64_t at = where.Read<uint64_t>("zip64 record offset");
  if (locator < kZip64EndBytes || at != locator - kZip64EndBytes) {
    throw Error(ErrorCode::kOutOfBounds, {file.path(), locator, "zip64 locator"},
                fmt::format("the ZIP64 record is said to be at byte {}; {}", at, kMislead));
  }
  ByteReader reader(file, at, locator);
  const auto signature = reader.Read<uint32_t>("zip64 record");
  const auto bytes = reader.Read<uint64_t>("zip64 record size");
  if (signature != kZip64EndSignature || bytes != kZip64EndBytes - 12) {
    throw Error(ErrorCode::kBadValue, {file.path(), at, "zip64 record"},
                fmt::format("not a ZIP64 end record; {}", kMislead));
  }
  reader.Skip(4, "versions");
  EndRecord end{};
  end.disk = reader.Read<uint32_t>("disk");
  end.directory_disk = reader.Read<uint32_t>("directory disk");
  end.entries_here = reader.Read<uint64_t>("entries on this disk");
  end.entries = reader.Read<uint64_t>("entries");
  end.bytes = reader.Read<uint64_t>("directory size");
  end.offset = reader.Read<uint64_t>("directory offset");
  return end;
}

bool HasLocator(const File& file, uint64_t end_at) {
  if (end_at < kZip64LocatorBytes) return false;
  ByteReader reader(file, end_at - kZip64LocatorBytes, end_at);
  return reader.Read<uint32_t>("zip64 locator") == kZip64LocatorSignature;
}

// Each field of the end record is the ZIP64 record's value or its placeholder of ones.
void CheckZip64Agrees(const File& file, uint64_t at, const EndRecord& end, const EndRecord& wide) {
  const auto agree = [](uint64_t narrow, uint64_t value, uint64_t placeholder) {
    return narrow == value || narrow == placeholder;
  };
  if (agree(end.entries, wide.entries, 0xffff) &&
      agree(end.entries_here, wide.entries_here, 0xffff) &&
      agree(end.bytes, wide.bytes, 0xffffffff) && agree(end.offset, wide.offset, 0xffffffff)) {
    return;
  }
  throw Error(ErrorCode::kMismatch, {file.path(), at, "zip end record"},
              fmt::format("the end record and the ZIP64 record disagree; {}", kMislead));
}

// Names that would leave the folder in which a careless tool unpacks, or fool a terminal.
void CheckName(const File& file, uint64_t offset, const std::string& name) {
  bool bad = name.empty() || name.starts_with('/') || name.find('\\') != std::string::npos ||
             name.find(':') == 1;
  for (const char c : name) bad = bad || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    bad = bad || std::string_view(name).substr(begin, end - begin) == "..";
    begin = end + 1;
  }
  if (!bad) return;
  throw Error(ErrorCode::kUnsafe, {file.path(), offset, name},
              "a member with this name could be written outside its folder; do not use this file");
}

// Replaces the placeholders of a central entry by its ZIP64 extra field (APPNOTE 4.5.3). The field
// holds the values that have a placeholder; some writers put in those before them as well, which
// must then say the same as the entry.
void ReadZip64Extra(ByteReader extra, Member& member) {
  constexpr uint64_t kPlaceholder = 0xffffffff;
  const std::array<uint64_t*, 3> fields = {&member.size, &member.compressed_size,
                                           &member.header_offset};
  std::vector<uint64_t*> wanted;
  size_t last = 0;  // fields up to the last one that is wanted
  for (size_t i = 0; i < fields.size(); ++i) {
    if (*fields[i] != kPlaceholder) continue;
    wanted.push_back(fields[i]);
    last = i + 1;
  }
  const auto mislead = [&](ErrorCode code, std::string_view what) {
    return extra.Fail(code, member.name, fmt::format("its ZIP64 field {}; {}", what, kMislead));
  };
  bool seen = false;
  while (extra.remaining() > 0) {
    const auto id = extra.Read<uint16_t>(member.name);
    const auto bytes = extra.Read<uint16_t>(member.name);
    if (id != 1) {
      extra.Skip(bytes, member.name);
      continue;
    }
    const size_t count = bytes / 8;
    std::vector<uint64_t*> listed = wanted;
    if (count != wanted.size() && count <= fields.size()) {
      listed.assign(fields.begin(), fields.begin() + static_cast<ptrdiff_t>(count));
    }
    if (seen || bytes != 8 * listed.size() || listed.size() < wanted.size() ||
        (listed.size() > wanted.size() && count < last)) {
      throw mislead(ErrorCode::kMismatch, "does not fit its header");
    }
    seen = true;
    for (uint64_t* field : listed) {
      const auto value = extra.Read<uint64_t>(member.name);
      if (*field != kPlaceholder && *field != value) {
        throw mislead(ErrorCode::kMismatch, "contradicts its header");
      }
      *field = value;
    }
  }
  if (!seen && !wanted.empty()) throw mislead(ErrorCode::kMissing, "is missing");
}

void CheckSizes(const File& file, uint64_t at, const Member& member) {
  const Where where{file.path(), at, member.name};
  if (!member.deflated && member.size != member.compressed_size) {
    throw Error(ErrorCode::kMismatch, where,
                fmt::format("stored in {} bytes and {} are declared; {}", member.compressed_size,
                            member.size, kMislead));
  }
  const auto most = CheckedMul(member.compressed_size, kMaxRatio);
  if (most && member.size > *most) {
    throw Error(ErrorCode::kMismatch, where,
                fmt::format("{} compressed bytes cannot give {}; {}", member.compressed_size,
                            member.size, kMislead));
  }
}

// What an entry says about its member besides name, sizes and place.
struct Attributes {
  uint16_t flags, method, disk, made_by;
  uint32_t attributes;
};

void CheckAttributes(const Where& where, const Attributes& entry) {
  if (entry.flags & kForbiddenFlags) {
    throw Error(ErrorCode::kBadValue, where,
                "this member is marked as encrypted or patched; quern reads plain archives only");
  }
  if (entry.disk != 0) throw Error(ErrorCode::kBadValue, where, "this member is on another disk");
  if (entry.method != 0 && entry.method != 8) {
    throw Error(ErrorCode::kUnsupported, where,
                fmt::format("compression method {}; only stored and deflated members are read, "
                            "pack the archive again",
                            entry.method));
  }
  constexpr uint32_t kUnix = 3, kTypeMask = 0170000, kLink = 0120000;
  if (entry.made_by == kUnix && (entry.attributes >> 16 & kTypeMask) == kLink) {
    throw Error(ErrorCode::kUnsafe, where, "this member is a symbolic link; do not use this file");
  }
}

Member ReadCentralEntry(const File& file, ByteReader& reader) {
  const uint64_t at = reader.offset();
  if (reader.Read<uint32_t>("central directory") != kCentralSignature) {
    throw Error(ErrorCode::kBadValue, {file.path(), at, "central directory"},
                fmt::format("an entry was expected here; {}", kMislead));
  }
  Member member;
  const uint16_t made_by = reader.Read<uint16_t>("version made by") >> 8;
  reader.Skip(2, "version needed");
  member.flags = reader.Read<uint16_t>("flags");
  const auto method = reader.Read<uint16_t>("method");
  reader.Skip(4, "time");
  member.crc = reader.Read<uint32_t>("crc");
  member.compressed_size = reader.Read<uint32_t>("compressed size");
  member.size = reader.Read<uint32_t>("size");
  const auto name_bytes = reader.Read<uint16_t>("name length");
  const auto extra_bytes = reader.Read<uint16_t>("extra length");
  const auto comment_bytes = reader.Read<uint16_t>("comment length");
  const auto disk = reader.Read<uint16_t>("disk");
  reader.Skip(2, "internal attributes");
  const auto attributes = reader.Read<uint32_t>("external attributes");
  member.header_offset = reader.Read<uint32_t>("local header offset");
  member.name = reader.ReadString(name_bytes, "name");
  const std::string extra = reader.ReadString(extra_bytes, member.name);
  reader.Skip(comment_bytes, member.name);

  CheckName(file, at, member.name);
  ReadZip64Extra(
      ByteReader({reinterpret_cast<const uint8_t*>(extra.data()), extra.size()}, file.path(), at),
      member);
  CheckAttributes({file.path(), at, member.name}, {.flags = member.flags,
                                                   .method = method,
                                                   .disk = disk,
                                                   .made_by = made_by,
                                                   .attributes = attributes});
  member.deflated = method == 8;
  CheckSizes(file, at, member);
  return member;
}

}  // namespace

DirectoryPlace FindDirectory(const File& file) {
  const uint64_t at = FindEndRecord(file);
  EndRecord end = ReadEndRecord(file, at);
  uint64_t directory_end = at;
  if (HasLocator(file, at)) {
    const EndRecord wide = ReadZip64Record(file, at - kZip64LocatorBytes);
    CheckZip64Agrees(file, at, end, wide);
    end = wide;
    directory_end = at - kZip64LocatorBytes - kZip64EndBytes;
  }
  const Where where{file.path(), at, "zip end record"};
  if (end.disk != 0 || end.directory_disk != 0 || end.entries_here != end.entries) {
    throw Error(ErrorCode::kBadValue, where, "an archive spread over several disks; join it first");
  }
  const auto stated_end = CheckedAdd(end.offset, end.bytes);
  if (!stated_end || *stated_end > directory_end) {
    throw Error(ErrorCode::kOutOfBounds, where,
                fmt::format("a directory of {} bytes at byte {} does not fit; {}", end.bytes,
                            end.offset, kMislead));
  }
  if (*stated_end != directory_end) {
    throw Error(ErrorCode::kUnusedBytes, where,
                fmt::format("{} bytes between the directory and its end record; {}",
                            directory_end - *stated_end, kMislead));
  }
  return {end.offset, directory_end, end.entries};
}

std::vector<Member> ReadDirectory(const File& file, const DirectoryPlace& place) {
  ByteReader reader(file, place.begin, place.end);
  reader.Require(place.entries, kCentralBytes, "central directory");
  std::vector<Member> members;
  members.reserve(place.entries);
  std::unordered_set<std::string_view> names;
  for (uint64_t i = 0; i < place.entries; ++i) {
    members.push_back(ReadCentralEntry(file, reader));
    if (!names.insert(members.back().name).second) {
      throw Error(ErrorCode::kDuplicate, {file.path(), {}, members.back().name},
                  fmt::format("the archive has two members of this name; {}", kMislead));
    }
  }
  if (reader.remaining() != 0) {
    throw reader.Fail(
        ErrorCode::kUnusedBytes, "central directory",
        fmt::format("{} bytes after the last entry; {}", reader.remaining(), kMislead));
  }
  return members;
}

}  // namespace quern::formats::zip
