// Files as quern reads them: opened once, read at absolute offsets, never mapped.
#ifndef QUERN_FORMATS_CORE_FILE_H_
#define QUERN_FORMATS_CORE_FILE_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace quern {

// A regular file opened for reading. Movable; reads are thread-safe.
class File {
 public:
  // Throws kMissing where there is no such file, kIo where it cannot be opened or is no regular
  // file.
  static File Open(const std::filesystem::path& path);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }

  // Fills `out` from `offset`. Throws kTruncated where the file is too short, kIo on failure.
  void ReadAt(uint64_t offset, std::span<uint8_t> out) const;

  // Tells the system that these bytes will be read soon (read-ahead runs while we compute).
  void WillNeed(uint64_t offset, uint64_t bytes) const;

 private:
  File(std::string path, int fd, uint64_t size);

  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

// The whole of a small file (a config, a tokenizer). Throws kLimitExceeded above `max_bytes`.
std::string ReadTextFile(const std::filesystem::path& path, uint64_t max_bytes);

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_FILE_H_
