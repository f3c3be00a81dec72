// Finding and checking the directory of a zip archive; internal to formats/zip.
#ifndef QUERN_FORMATS_ZIP_ZIP_DIRECTORY_H_
#define QUERN_FORMATS_ZIP_ZIP_DIRECTORY_H_

#include <cstdint>
#include <vector>

#include "formats/core/file.h"
#include "formats/zip/zip_archive.h"

namespace quern::formats::zip {

// Where the central directory is, from the end record and, where there is one, the ZIP64 record.
struct DirectoryPlace {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t entries = 0;
};
DirectoryPlace FindDirectory(const File& file);

// Every member as the central directory states it (data_offset not known yet).
std::vector<Member> ReadDirectory(const File& file, const DirectoryPlace& place);

// Reads the local header of each member, sets data_offset, and checks that both headers agree, that
// no two members share bytes and, where gaps are refused, that no byte before the directory is
// unaccounted for.
void CheckLocalHeaders(const File& file, const DirectoryPlace& place, Gaps gaps,
                       std::vector<Member>& members);

}  // namespace quern::formats::zip

#endif  // QUERN_FORMATS_ZIP_ZIP_DIRECTORY_H_
