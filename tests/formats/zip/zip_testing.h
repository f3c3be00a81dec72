// Zip archives built in code, right or wrong in any field.
#ifndef QUERN_TESTS_FORMATS_ZIP_ZIP_TESTING_H_
#define QUERN_TESTS_FORMATS_ZIP_ZIP_TESTING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quern::testing {

// A member as both headers state it. Fields that are not set are derived from `data`.
struct ZipMember {
  std::string name;
  std::string data;  // as the reader gets it
  bool deflate = false;
  bool descriptor = false;  // sizes and CRC follow the data, as PyTorch writes them
  bool zip64 = false;       // sizes stand in the ZIP64 field of both headers
  uint16_t flags = 0;
  std::optional<std::string> raw;  // bytes in the file in place of the compressed data
  std::optional<uint64_t> size;    // claims of both headers
  std::optional<uint64_t> compressed_size;
  std::optional<uint32_t> crc;
  std::optional<uint16_t> method;
  std::optional<std::string> local_name;  // claims of the local header only
  std::optional<uint16_t> local_flags;
  std::optional<uint32_t> local_size;
  std::optional<uint32_t> local_crc;
  std::optional<uint64_t> central_offset;
  std::string central_extra;
  uint32_t external_attributes = 0;
  std::string after;  // bytes between this member and the next
};

struct ZipFile {
  std::vector<ZipMember> members;
  std::string prefix;  // before the first member
  std::string comment;
  bool zip64 = false;  // with the ZIP64 records
  std::optional<uint16_t> entries;
  std::optional<uint64_t> zip64_entries;
  std::optional<uint64_t> zip64_offset;  // of the record, in its locator
  std::optional<uint32_t> directory_offset;
  std::string before_end;  // between the directory and the end record
};

std::string BuildZip(const ZipFile& zip);
std::string RawDeflate(const std::string& data);

// Number as `bytes` little-endian bytes.
std::string Le(uint64_t value, int bytes);

}  // namespace quern::testing

#endif  // QUERN_TESTS_FORMATS_ZIP_ZIP_TESTING_H_
