#include "formats/core/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cassert>
#include <map>

#include "formats/core/error.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

fs::path FolderOf(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

std::string PartialOf(const fs::path& path) { return path.string() + ".partial"; }

uint64_t BytesOnDisk(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

struct Space {
  fs::path first;  // of the files that go there
  uint64_t free = 0;
  uint64_t needed = 0;
};

void SyncFolder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)::fsync(fd);  // some file systems refuse; the rename itself has happened
  ::close(fd);
}

}  // namespace

void RequireSpace(std::span<const OutputSize> files) {
  std::map<dev_t, Space> systems;
  for (const auto& [path, size] : files) {
    const fs::path folder = FolderOf(path);
    struct stat info;
    struct statvfs free;
    if (::stat(folder.c_str(), &info) != 0 || ::statvfs(folder.c_str(), &free) != 0) {
      throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                  fmt::format("cannot write here: {}", ::strerror(errno)));
    }
    const auto [entry, added] = systems.try_emplace(info.st_dev);
    Space& space = entry->second;
    if (added) space = {path, static_cast<uint64_t>(free.f_bavail) * free.f_frsize, 0};
    space.free += BytesOnDisk(PartialOf(path));
    space.needed += size;
    if (space.needed > space.free) {
      throw Error(ErrorCode::kDiskFull, {space.first.string(), {}, {}},
                  fmt::format("{} bytes are needed and {} are free; nothing was written",
                              space.needed, space.free));
    }
  }
}

OutputFile::OutputFile(const fs::path& path, uint64_t size, const OutputOptions& options)
    : path_(path.string()), partial_(PartialOf(path)), size_(size), keep_(options.resume) {
  std::error_code ignored;
  if (!options.force && fs::exists(fs::symlink_status(path, ignored))) {
    throw Error(ErrorCode::kExists, {path_, {}, {}},
                "the output exists; choose another name or give --force");
  }
  const OutputSize needed(path, size);
  RequireSpace({&needed, 1});
  Open();
  struct stat info;
  resumed_ = options.resume && ::fstat(fd_, &info) == 0 &&
             static_cast<uint64_t>(info.st_size) == size && size > 0;
  if (resumed_) return;
  if (::ftruncate(fd_, 0) != 0 || ::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
    const int error_number = errno;
    Remove();
    Fail(error_number);
  }
}

void OutputFile::Open() {
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
}

void OutputFile::Remove() noexcept {
  ::unlink(partial_.c_str());
  ::close(fd_);
  fd_ = -1;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  if (published_ || keep_) {
    ::close(fd_);
  } else {
    Remove();
  }
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

void OutputFile::ReadAt(uint64_t offset, std::span<uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw Error(
          ErrorCode::kIo, {partial_, offset, {}},
          fmt::format("cannot read back: {}", got < 0 ? ::strerror(errno) : "file too short"));
    }
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
}

void OutputFile::Sync() {
  if (::fsync(fd_) != 0) Fail(errno);
}

void OutputFile::Publish() {
  if (::rename(partial_.c_str(), path_.c_str()) != 0) Fail(errno);
  published_ = true;
  SyncFolder(FolderOf(path_));
}

void OutputFile::Retract() noexcept {
  if (published_ && ::rename(path_.c_str(), partial_.c_str()) == 0) published_ = false;
}

void OutputFile::Commit() {
  Sync();
  Publish();
}

}  // namespace quern
