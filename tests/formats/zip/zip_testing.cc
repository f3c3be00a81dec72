#include "tests/formats/zip/zip_testing.h"

#include <zlib.h>

namespace quern::testing {
namespace {

uint32_t CrcOf(const std::string& data) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

struct Claims {
  std::string stored;
  uint64_t size, compressed_size, offset;
  uint32_t crc;
  uint16_t flags, method;
};

Claims ClaimsOf(const ZipMember& member, uint64_t offset) {
  Claims claims;
  claims.stored = member.raw.value_or(member.deflate ? RawDeflate(member.data) : member.data);
  claims.size = member.size.value_or(member.data.size());
  claims.compressed_size = member.compressed_size.value_or(claims.stored.size());
  claims.offset = member.central_offset.value_or(offset);
  claims.crc = member.crc.value_or(CrcOf(member.data));
  claims.flags = static_cast<uint16_t>(member.flags | (member.descriptor ? 8 : 0));
  claims.method = member.method.value_or(member.deflate ? 8 : 0);
  return claims;
}

std::string LocalHeader(const ZipMember& member, const Claims& claims) {
  const std::string name = member.local_name.value_or(member.name);
  const bool later = member.descriptor;
  std::string extra;
  uint64_t size = later ? 0 : claims.size;
  uint64_t compressed = later ? 0 : claims.compressed_size;
  if (member.zip64) {
    extra = Le(1, 2) + Le(16, 2) + Le(size, 8) + Le(compressed, 8);
    size = compressed = 0xffffffff;
  }
  return "PK\x03\x04" + Le(20, 2) + Le(member.local_flags.value_or(claims.flags), 2) +
         Le(claims.method, 2) + Le(0, 4) +
         Le(member.local_crc.value_or(later ? 0 : claims.crc), 4) + Le(compressed, 4) +
         Le(member.local_size.value_or(static_cast<uint32_t>(size)), 4) + Le(name.size(), 2) +
         Le(extra.size(), 2) + name + extra;
}

std::string CentralEntry(const ZipMember& member, const Claims& claims) {
  std::string extra = member.central_extra;
  const uint64_t placeholder = 0xffffffff;
  if (member.zip64) {
    extra = Le(1, 2) + Le(16, 2) + Le(claims.size, 8) + Le(claims.compressed_size, 8) + extra;
  }
  const int made_by = member.external_attributes ? 0x0314 : 0;
  return "PK\x01\x02" + Le(made_by, 2) + Le(20, 2) + Le(claims.flags, 2) + Le(claims.method, 2) +
         Le(0, 4) + Le(claims.crc, 4) + Le(member.zip64 ? placeholder : claims.compressed_size, 4) +
         Le(member.zip64 ? placeholder : claims.size, 4) + Le(member.name.size(), 2) +
         Le(extra.size(), 2) + Le(0, 2) + Le(0, 2) + Le(0, 2) + Le(member.external_attributes, 4) +
         Le(claims.offset, 4) + member.name + extra;
}

}  // namespace

std::string Le(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

std::string RawDeflate(const std::string& data) {
  z_stream z{};
  ::deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&z, data.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  return out;
}

std::string BuildZip(const ZipFile& zip) {
  std::string file = zip.prefix;
  std::string directory;
  for (const ZipMember& member : zip.members) {
    const Claims claims = ClaimsOf(member, file.size());
    file += LocalHeader(member, claims) + claims.stored;
    if (member.descriptor) {
      const int width = member.zip64 ? 8 : 4;
      file += "PK\x07\x08" + Le(claims.crc, 4) + Le(claims.compressed_size, width) +
              Le(claims.size, width);
    }
    file += member.after;
    directory += CentralEntry(member, claims);
  }
  const uint64_t begin = file.size();
  const uint64_t count = zip.members.size();
  file += directory + zip.before_end;
  if (zip.zip64) {
    const uint64_t at = file.size();
    const uint64_t entries = zip.zip64_entries.value_or(count);
    file += "PK\x06\x06" + Le(44, 8) + Le(0, 4) + Le(0, 8) + Le(entries, 8) + Le(entries, 8) +
            Le(directory.size(), 8) + Le(begin, 8);
    file += "PK\x06\x07" + Le(0, 4) + Le(zip.zip64_offset.value_or(at), 8) + Le(1, 4);
  }
  const uint64_t entries = zip.entries.value_or(static_cast<uint16_t>(count));
  return file + "PK\x05\x06" + Le(0, 4) + Le(entries, 2) + Le(entries, 2) +
         Le(directory.size(), 4) +
         Le(zip.directory_offset.value_or(static_cast<uint32_t>(begin)), 4) +
         Le(zip.comment.size(), 2) + zip.comment;
}

}  // namespace quern::testing
