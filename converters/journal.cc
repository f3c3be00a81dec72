#include "converters/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "formats/core/checksum.h"
#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern::converters {
namespace {

constexpr std::string_view kMagic = "QNJOURN1";
constexpr size_t kWord = sizeof(uint64_t);
constexpr size_t kHeadBytes = 8 + 32 + kWord;
constexpr size_t kRecordBytes = 5 * kWord;
// 1.6 million slabs: 10^11 weights in the smallest slabs, 3 * 10^12 in the usual ones.
constexpr uint64_t kMaxJournalBytes = uint64_t{64} << 20;

void PutWord(uint64_t value, uint8_t* out) {
  for (size_t i = 0; i < kWord; ++i) out[i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t GetWord(const uint8_t* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kWord; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// Puts the checksum of all before it into the last word.
void Seal(std::span<uint8_t> record) {
  const size_t content = record.size() - kWord;
  PutWord(ChecksumOf(record.first(content)), record.data() + content);
}

bool IsSealed(std::span<const uint8_t> record) {
  const size_t content = record.size() - kWord;
  return ChecksumOf(record.first(content)) == GetWord(record.data() + content);
}

}  // namespace

std::optional<JournalContents> ParseJournal(std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeadBytes || !IsSealed(bytes.first(kHeadBytes)) ||
      !std::equal(kMagic.begin(), kMagic.end(), bytes.begin())) {
    return std::nullopt;
  }
  JournalContents contents;
  std::copy_n(bytes.begin() + kMagic.size(), contents.identity.size(), contents.identity.begin());
  size_t at = kHeadBytes;
  for (; bytes.size() - at >= kRecordBytes; at += kRecordBytes) {
    const auto record = bytes.subspan(at, kRecordBytes);
    if (!IsSealed(record)) continue;
    contents.slabs.push_back({GetWord(record.data()), GetWord(record.data() + kWord),
                              GetWord(record.data() + 2 * kWord),
                              GetWord(record.data() + 3 * kWord)});
  }
  contents.bytes = at;
  return contents;
}

std::optional<JournalContents> ReadJournal(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  const File file = File::Open(path);
  if (file.size() > kMaxJournalBytes) return std::nullopt;
  std::vector<uint8_t> bytes(file.size());
  file.ReadAt(0, bytes);
  return ParseJournal(bytes);
}

Journal::Journal(std::string path, int flags) : path_(std::move(path)) {
  // A new file, so that nothing that `path` may be linked to is written over.
  if (flags & O_CREAT) ::unlink(path_.c_str());
  fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
  if (fd_ < 0) Fail(errno);
}

Journal::Journal(std::string path, const Identity& identity)
    : Journal(std::move(path), O_CREAT | O_EXCL) {
  std::array<uint8_t, kHeadBytes> head;
  std::copy(kMagic.begin(), kMagic.end(), head.begin());
  std::copy(identity.begin(), identity.end(), head.begin() + kMagic.size());
  Seal(head);
  Write(head);
}

Journal::Journal(std::string path, const JournalContents& contents) : Journal(std::move(path), 0) {
  keep_ = true;
  if (::ftruncate(fd_, static_cast<off_t>(contents.bytes)) != 0) Fail(errno);
}

Journal::~Journal() {
  if (fd_ < 0) return;
  if (!keep_) ::unlink(path_.c_str());
  ::close(fd_);
}

void Journal::Append(const JournalSlab& slab) {
  std::array<uint8_t, kRecordBytes> record;
  PutWord(slab.tensor, record.data());
  PutWord(slab.first, record.data() + kWord);
  PutWord(slab.rows, record.data() + 2 * kWord);
  PutWord(slab.checksum, record.data() + 3 * kWord);
  Seal(record);
  Write(record);
}

// One call, which O_APPEND keeps apart from those of other threads. A torn record ends a run.
void Journal::Write(std::span<const uint8_t> bytes) {
  ssize_t put;
  do {
    put = ::write(fd_, bytes.data(), bytes.size());
  } while (put < 0 && errno == EINTR);
  if (put < 0) Fail(errno);
  if (static_cast<size_t>(put) != bytes.size()) Fail(ENOSPC);
}

void Journal::Fail(int error_number) const {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  throw Error(full ? ErrorCode::kDiskFull : ErrorCode::kIo, {path_, {}, {}},
              fmt::format("cannot write: {}", ::strerror(error_number)));
}

}  // namespace quern::converters
