#include "formats/core/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cassert>

#include "formats/core/error.h"

namespace quern {
namespace fs = std::filesystem;

OutputFile::OutputFile(const fs::path& path, uint64_t size, const OutputOptions& options)
    : path_(path.string()), partial_(path_ + ".partial"), size_(size) {
  std::error_code ignored;
  if (!options.force && fs::exists(fs::symlink_status(path, ignored))) {
    throw Error(ErrorCode::kExists, {path_, {}, {}},
                "the output exists; choose another name or give --force");
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  struct statvfs space;
  if (::statvfs(folder.c_str(), &space) != 0) {
    throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                fmt::format("cannot write here: {}", ::strerror(errno)));
  }
  const uint64_t available = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  // The lock tells a living writer's file from one that a killed process left behind. It is taken
  // before the file is truncated.
  fd_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd_ < 0) {
    throw Error(ErrorCode::kIo, {partial_, {}, {}},
                fmt::format("cannot create: {}", ::strerror(errno)));
  }
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    throw Error(ErrorCode::kExists, {partial_, {}, {}}, "another process is writing this file");
  }
  if (available < size) {
    ::unlink(partial_.c_str());
    ::close(fd_);
    throw Error(
        ErrorCode::kDiskFull, {path_, {}, {}},
        fmt::format("{} bytes are needed and {} are free; nothing was written", size, available));
  }
  if (::ftruncate(fd_, 0) != 0 || ::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
    const int error_number = errno;
    ::unlink(partial_.c_str());
    ::close(fd_);
    Fail(error_number);
  }
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  if (!committed_) ::unlink(partial_.c_str());
  ::close(fd_);
}

void OutputFile::Fail(int error_number) const {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  throw Error(full ? ErrorCode::kDiskFull : ErrorCode::kIo, {partial_, {}, {}},
              fmt::format("cannot write: {}", ::strerror(error_number)));
}

void OutputFile::WriteAt(uint64_t offset, std::span<const uint8_t> bytes) {
  assert(offset <= size_ && bytes.size() <= size_ - offset);
  const auto begin = static_cast<off_t>(offset);
  const auto length = static_cast<off_t>(bytes.size());
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) Fail(errno);
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  // Starts writing back now, so that the fsync at the end finds little left to do. Advice only.
  (void)::sync_file_range(fd_, begin, length, SYNC_FILE_RANGE_WRITE);
}

void OutputFile::Commit() {
  if (::fsync(fd_) != 0) Fail(errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) Fail(errno);
  committed_ = true;
  const fs::path folder = fs::path(path_).has_parent_path() ? fs::path(path_).parent_path() : ".";
  const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    (void)::fsync(dir);  // some file systems refuse; the rename itself has happened
    ::close(dir);
  }
}

}  // namespace quern
