// Lists of checksums: what sha256sum, md5sum and shasum write, and Meta's checklist.chk (MD5).
//
//   HEX  NAME          a text file; HEX *NAME a binary one: the same bytes on Unix
//   \HEX  NAME         NAME has \\, \n and \r for a backslash, a newline and a carriage return
//   SHA256 (NAME) = HEX    BSD's form; MD5 as well
//   HEX                alone in its file: of the file that the list is named after
// Lines may end in CR LF; empty lines and lines that begin with '#' do not count.
// Non-goals: what the names lead to, computing digests (verify/).
#ifndef QUERN_FORMATS_CHECKSUMS_CHECKSUM_LIST_H_
#define QUERN_FORMATS_CHECKSUMS_CHECKSUM_LIST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern::formats::checksums {

inline constexpr uint64_t kMaxListBytes = 64 << 20;

struct Checksum {
  std::string digest;  // lower-case hexadecimal: 64 digits (SHA-256) or 32 (MD5)
  std::string name;    // as the list has it, a path; empty where it names none
};

// Throws kBadText, naming the line, for one that is none of these forms, and kDuplicate for a name
// that has two different digests.
std::vector<Checksum> ParseChecksums(std::string_view text, std::string_view file);

}  // namespace quern::formats::checksums

#endif  // QUERN_FORMATS_CHECKSUMS_CHECKSUM_LIST_H_
