#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/zip/zip_directory.h"

namespace quern::formats::zip {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kDescriptorSignature = 0x08074b50;
constexpr uint64_t kLocalBytes = 30;
constexpr uint16_t kHasDescriptor = 1u << 3;
constexpr std::string_view kMislead = "the archive is damaged or made to mislead; do not use it";

struct LocalHeader {
  uint16_t flags, method;
  uint32_t crc;
  uint64_t compressed_size, size;
  std::string name;
};

// ZIP64 sizes of a local header: both, in the order size, compressed size.
void WidenLocalSizes(ByteReader extra, LocalHeader& local) {
  while (extra.remaining() >= 4) {
    const auto id = extra.Read<uint16_t>(local.name);
    const auto bytes = extra.Read<uint16_t>(local.name);
    if (id == 1 && bytes >= 16) {
      const auto size = extra.Read<uint64_t>(local.name);
      const auto compressed = extra.Read<uint64_t>(local.name);
      if (local.size == 0xffffffff) local.size = size;
      if (local.compressed_size == 0xffffffff) local.compressed_size = compressed;
      return;
    }
    extra.Skip(bytes, local.name);
  }
}

LocalHeader ReadLocalHeader(const File& file, uint64_t limit, Member& member) {
  const uint64_t at = member.header_offset;
  const auto fixed_end = CheckedAdd(at, kLocalBytes);
  if (!fixed_end || *fixed_end > limit) {
    throw Error(ErrorCode::kOutOfBounds, {file.path(), at, member.name},
                fmt::format("its header lies outside the archive's data; {}", kMislead));
  }
  std::array<uint8_t, kLocalBytes> fixed;
  file.ReadAt(at, fixed);
  ByteReader reader(fixed, file.path(), at);
  if (reader.Read<uint32_t>(member.name) != kLocalSignature) {
    throw Error(ErrorCode::kMismatch, {file.path(), at, member.name},
                fmt::format("the directory points here and there is no member; {}", kMislead));
  }
  LocalHeader local{};
  reader.Skip(2, "version");
  local.flags = reader.Read<uint16_t>("flags");
  local.method = reader.Read<uint16_t>("method");
  reader.Skip(4, "time");
  local.crc = reader.Read<uint32_t>("crc");
  local.compressed_size = reader.Read<uint32_t>("compressed size");
  local.size = reader.Read<uint32_t>("size");
  const auto name_bytes = reader.Read<uint16_t>("name length");
  const auto extra_bytes = reader.Read<uint16_t>("extra length");
  member.data_offset = *fixed_end + name_bytes + extra_bytes;
  const auto end = CheckedAdd(member.data_offset, member.compressed_size);
  if (!end || *end > limit) {
    throw Error(ErrorCode::kOutOfBounds, {file.path(), at, member.name},
                fmt::format("{} bytes at {} run beyond the archive's data; {}",
                            member.compressed_size, member.data_offset, kMislead));
  }
  std::vector<uint8_t> rest(uint64_t{name_bytes} + extra_bytes);
  file.ReadAt(*fixed_end, rest);
  local.name.assign(rest.begin(), rest.begin() + name_bytes);
  WidenLocalSizes(
      ByteReader(std::span(rest).subspan(name_bytes), file.path(), *fixed_end + name_bytes), local);
  return local;
}

// With a data descriptor the local header leaves CRC and sizes at 0 (or states them rightly).
void CheckAgreement(const File& file, const Member& member, const LocalHeader& local) {
  const bool later = member.flags & kHasDescriptor;
  const auto same = [&](uint64_t here, uint64_t there) {
    return here == there || (later && (here == 0 || here == 0xffffffff));
  };
  std::string_view what;
  if (local.name != member.name) what = "name";
  if (local.flags != member.flags) what = "flags";
  if (local.method != (member.deflated ? 8 : 0)) what = "method";
  if (!same(local.crc, member.crc)) what = "CRC";
  if (!same(local.size, member.size)) what = "size";
  if (!same(local.compressed_size, member.compressed_size)) what = "compressed size";
  if (what.empty()) return;
  throw Error(ErrorCode::kMismatch, {file.path(), member.header_offset, member.name},
              fmt::format("the {} in its header differs from the directory's; {}", what, kMislead));
}

// [signature] crc, compressed size, size, the sizes with 4 or 8 bytes each. Nothing else may stand
// between a member and what follows it.
void CheckGap(const File& file, const Member& member, uint64_t begin, uint64_t end) {
  const uint64_t bytes = end - begin;
  if (bytes == 0) return;
  const bool expected =
      (member.flags & kHasDescriptor) && (bytes == 12 || bytes == 16 || bytes == 20 || bytes == 24);
  if (!expected) {
    throw Error(ErrorCode::kUnusedBytes, {file.path(), begin, member.name},
                fmt::format("{} bytes after this member belong to nothing; {}", bytes, kMislead));
  }
  ByteReader reader(file, begin, end);
  const bool wide = bytes >= 20;
  const bool is_signed = bytes == 16 || bytes == 24;
  bool right = !is_signed || reader.Read<uint32_t>("descriptor") == kDescriptorSignature;
  right = reader.Read<uint32_t>("crc") == member.crc && right;
  for (const uint64_t expected_size : {member.compressed_size, member.size}) {
    const uint64_t size = wide ? reader.Read<uint64_t>("size") : reader.Read<uint32_t>("size");
    right = size == (wide ? expected_size : expected_size & 0xffffffff) && right;
  }
  if (!right) {
    throw Error(
        ErrorCode::kMismatch, {file.path(), begin, member.name},
        fmt::format("its data descriptor differs from the directory's entry; {}", kMislead));
  }
}

}  // namespace

void CheckLocalHeaders(const File& file, const DirectoryPlace& place, Gaps gaps,
                       std::vector<Member>& members) {
  for (Member& member : members) {
    const LocalHeader local = ReadLocalHeader(file, place.begin, member);
    CheckAgreement(file, member, local);
  }
  std::vector<size_t> order(members.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return members[a].header_offset < members[b].header_offset;
  });
  if (gaps == Gaps::kRefused && !members.empty() && members[order[0]].header_offset != 0) {
    throw Error(ErrorCode::kUnusedBytes, {file.path(), 0, {}},
                fmt::format("{} bytes before the first member; {}", members[order[0]].header_offset,
                            kMislead));
  }
  for (size_t i = 0; i < order.size(); ++i) {
    const Member& member = members[order[i]];
    const uint64_t end = member.data_offset + member.compressed_size;
    const uint64_t next = i + 1 < order.size() ? members[order[i + 1]].header_offset : place.begin;
    if (next < end) {
      throw Error(ErrorCode::kOverlap, {file.path(), next, member.name},
                  fmt::format("the next member begins inside this one; {}", kMislead));
    }
    if (gaps == Gaps::kRefused) CheckGap(file, member, end, next);
  }
}

}  // namespace quern::formats::zip
