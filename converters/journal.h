// What a run has written so far: FILE.partial.journal, one beside each FILE.partial.
//
// All numbers little-endian; every record ends in a checksum (formats/core/checksum.h) of the rest
// of it, so that a torn or changed record is recognized and left out.
//  offset size content
//       0    8 "QNJOURN1"
//       8   32 identity of the run (run_identity.h)
//      40    8 checksum
//  then one record per slab of rows, in the order in which they were finished:
//       0    8 tensor, an index into WritePlan::tensors
//       8    8 first row
//      16    8 rows
//      24    8 checksum of the rows' bytes as they were written to FILE.partial
//      32    8 checksum
// The journal says what the run believed. Whether FILE.partial holds it is for the reader to see:
// the journal is never synced, and after a power loss either file may be ahead of the other.
// Non-goals: what a slab is, who redoes it (outputs.h).
#ifndef QUERN_CONVERTERS_JOURNAL_H_
#define QUERN_CONVERTERS_JOURNAL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quern::converters {

using Identity = std::array<uint8_t, 32>;

struct JournalSlab {
  uint64_t tensor = 0;
  uint64_t first = 0;
  uint64_t rows = 0;
  uint64_t checksum = 0;
  bool operator==(const JournalSlab&) const = default;
};

struct JournalContents {
  Identity identity = {};
  std::vector<JournalSlab> slabs;
  uint64_t bytes = 0;  // of whole records, good or bad: where the next one goes
};

// Absent where the head is damaged. Any bytes are fine.
std::optional<JournalContents> ParseJournal(std::span<const uint8_t> bytes);

// As ParseJournal(); absent also where there is no such file, or one larger than any run writes.
std::optional<JournalContents> ReadJournal(const std::string& path);

// A journal open for writing; its file goes with it unless Keep() was called. Append is
// thread-safe.
class Journal {
 public:
  // A new journal; whatever is at `path` is replaced. Throws kDiskFull or kIo.
  Journal(std::string path, const Identity& identity);
  // Goes on after `contents`, which ReadJournal(path) gave; to be kept.
  Journal(std::string path, const JournalContents& contents);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();

  void Append(const JournalSlab& slab);
  void Keep(bool keep) { keep_ = keep; }

 private:
  Journal(std::string path, int flags);  // opens, so that the destructor runs from here on
  void Write(std::span<const uint8_t> bytes);
  [[noreturn]] void Fail(int error_number) const;

  std::string path_;
  int fd_ = -1;
  bool keep_ = false;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_JOURNAL_H_
