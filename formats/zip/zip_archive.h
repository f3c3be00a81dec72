// Zip archives as model files: the central directory, checked against the local headers, and
// members read at any offset. Source of the format: PKWARE APPNOTE 6.3.10.
//
//  end of file:   [zip64 end record 56 | zip64 locator 20] end record 22 [comment]
//  central entry: 46 + name + extra + comment      local header: 30 + name + extra, then the data,
//                                                  then a data descriptor where flag bit 3 is set
//
// Opening validates everything once, and refuses whatever two zip readers could understand
// differently: names, sizes or flags that differ between the two headers, members named twice,
// overlapping members, bytes between members that nothing accounts for, a second end record in the
// comment, ZIP64 fields that disagree. Non-goals: encryption, spanned archives, methods other than
// stored and deflated, writing.
#ifndef QUERN_FORMATS_ZIP_ZIP_ARCHIVE_H_
#define QUERN_FORMATS_ZIP_ZIP_ARCHIVE_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/core/file.h"
#include "formats/zip/coverage.h"
#include "formats/zip/inflater.h"

namespace quern::formats::zip {

struct Member {
  std::string name;
  uint64_t size = 0;             // inflated
  uint64_t compressed_size = 0;  // in the file
  uint64_t header_offset = 0;    // of the local header
  uint64_t data_offset = 0;      // of the data in the file
  uint32_t crc = 0;
  uint16_t flags = 0;
  bool deflated = false;
};

// Bytes before the first member and between members that nothing accounts for: refused, or allowed
// for an archive inside an executable, whose members are aligned.
enum class Gaps { kRefused, kAllowed };

class Archive {
 public:
  // Reads the directory of `file`, which must outlive the archive. Throws kTruncated (no end
  // record), kBadValue, kMismatch, kDuplicate, kOverlap, kUnusedBytes, kOutOfBounds, kUnsafe (names
  // that leave a folder, symbolic links), kUnsupported (method).
  explicit Archive(const File& file, Gaps gaps = Gaps::kRefused);

  const File& file() const { return file_; }
  const std::vector<Member>& members() const { return members_; }
  const Member* Find(std::string_view name) const;

  // Fills `out` from `offset` of a member's inflated data. Thread-safe; stored members are read in
  // place, deflated ones through a few kept streams, so that reading forward is linear. When every
  // byte of a member has been read once, in whatever order, its CRC is checked: kMismatch.
  void Read(const Member& member, uint64_t offset, std::span<uint8_t> out) const;

  // Reads the member through and checks its CRC now.
  void Verify(const Member& member) const;

  // The whole of a small member. Throws kLimitExceeded above `max_bytes`.
  std::string ReadSmall(const Member& member, uint64_t max_bytes) const;

 private:
  struct Cursor {
    const Member* member;
    std::unique_ptr<Inflater> inflater;
  };

  void Inflate(const Member& member, uint64_t offset, std::span<uint8_t> out) const;
  void TrackCrc(const Member& member, uint64_t offset, std::span<const uint8_t> bytes) const;

  const File& file_;
  std::vector<Member> members_;
  std::unordered_map<std::string_view, size_t> by_name_;
  mutable std::mutex mutex_;
  mutable std::vector<Cursor> cursors_;  // streams at rest, least recently used first
  mutable std::vector<Coverage> read_;   // per member
};

}  // namespace quern::formats::zip

#endif  // QUERN_FORMATS_ZIP_ZIP_ARCHIVE_H_
