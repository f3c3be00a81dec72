#include "formats/core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "formats/core/error.h"

namespace quern {
namespace {

constexpr size_t kMaxRead = size_t{1} << 30;  // below what one pread can return on Linux

}  // namespace

File::File(std::string path, int fd, uint64_t size)
    : path_(std::move(path)), fd_(fd), size_(size) {}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File File::Open(const std::filesystem::path& path) {
  // O_NONBLOCK: a FIFO given by mistake must be refused, not waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kMissing : ErrorCode::kIo;
    throw Error(code, {path.string(), {}, {}}, fmt::format("cannot open: {}", ::strerror(errno)));
  }
  File file(path.string(), fd, 0);
  struct stat status;
  if (::fstat(fd, &status) != 0) {
    throw Error(ErrorCode::kIo, {path.string(), {}, {}}, ::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kIo, {path.string(), {}, {}}, "not a regular file");
  }
  file.size_ = static_cast<uint64_t>(status.st_size);
  return file;
}

void File::ReadAt(uint64_t offset, std::span<uint8_t> out) const {
  if (offset > size_ || out.size() > size_ - offset) {
    throw Error(
        ErrorCode::kTruncated, {path_, offset, {}},
        fmt::format("{} bytes are needed here and the file has {}; it is cut short, fetch it again",
                    out.size(), size_));
  }
  while (!out.empty()) {
    const ssize_t got =
        ::pread(fd_, out.data(), std::min(out.size(), kMaxRead), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorCode::kIo, {path_, offset, {}}, ::strerror(errno));
    if (got == 0) {
      throw Error(ErrorCode::kTruncated, {path_, offset, {}}, "the file shrank while it was read");
    }
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
}

void File::WillNeed(uint64_t offset, uint64_t bytes) const {
  // Advice only: a failure changes nothing but speed.
  (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                        POSIX_FADV_WILLNEED);
}

std::string ReadTextFile(const std::filesystem::path& path, uint64_t max_bytes) {
  const File file = File::Open(path);
  if (file.size() > max_bytes) {
    throw Error(
        ErrorCode::kLimitExceeded, {file.path(), {}, {}},
        fmt::format("{} bytes; the limit for this kind of file is {}", file.size(), max_bytes));
  }
  std::string text(file.size(), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  if (text.starts_with("version https://git-lfs")) {
    throw Error(ErrorCode::kMissing, {file.path(), {}, {}},
                "this is a git-LFS pointer, not the file itself; run `git lfs pull`");
  }
  return text;
}

}  // namespace quern
