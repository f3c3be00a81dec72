// Git's index, .git/index: the files of a checkout and the names of their contents.
//
//  offset size field
//       0    4 "DIRC"
//       4    4 version, 2 to 4       all numbers are big-endian
//       8    4 count of entries
//  entry:
//       0   24 times, device, inode  24  4 mode    28  8 user, group    36  4 size
//      40   20 SHA-1 of the blob
//      60    2 flags: bit 14 more flags follow (version 3), bits 12-13 stage, bits 0-11 length of
//              the name or 4095
//      62    2 more flags: bit 14 skip-worktree, bit 13 intent-to-add
//              name, a zero byte; in versions 2 and 3 zeros to a multiple of 8 bytes; in version 4
//              a number (7 bits per byte) comes first: what to take off the name before it
// Extensions follow, each with a name of 4 bytes and its size, then a SHA-1 of 20 bytes; the
// extension "link" makes it a split index, whose entries are in another file.
// Source: git, Documentation/gitformat-index.txt.
// Non-goals: other extensions, split indexes, objects, repositories with SHA-256.
#ifndef QUERN_FORMATS_GIT_GIT_INDEX_H_
#define QUERN_FORMATS_GIT_GIT_INDEX_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/byte_reader.h"

namespace quern::formats::git {

struct IndexEntry {
  std::string path;  // below the work tree, with '/'
  uint32_t mode = 0;
  std::string sha1;            // 40 lower-case hexadecimal digits
  bool in_work_tree = true;    // false: skip-worktree, intent-to-add or an unmerged stage
  bool skip_worktree = false;  // left out by a sparse checkout

  bool IsFile() const { return (mode & 0xf000) == 0x8000; }
  bool IsFolder() const { return (mode & 0xf000) == 0x4000; }
  bool IsLink() const { return (mode & 0xf000) == 0xa000; }
};

// Throws kBadMagic, kBadVersion, kTruncated, kBadValue (names), kUnsafe (a name that is absolute or
// has "..", or lies in .git), kLimitExceeded (all names together), kUnsupported (a split index).
std::vector<IndexEntry> ParseIndex(ByteReader& reader);

}  // namespace quern::formats::git

#endif  // QUERN_FORMATS_GIT_GIT_INDEX_H_
