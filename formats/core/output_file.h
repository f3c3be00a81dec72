// Output that appears under its final name only when it is complete.
#ifndef QUERN_FORMATS_CORE_OUTPUT_FILE_H_
#define QUERN_FORMATS_CORE_OUTPUT_FILE_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace quern {

struct OutputOptions {
  bool force = false;  // replace an existing file
};

// FILE.partial while it is written; Commit() makes it durable and renames it to FILE. Destroyed
// before that, it removes the partial file. WriteAt is thread-safe for disjoint ranges.
class OutputFile {
 public:
  // Throws kExists where FILE is there and !force or where another process writes FILE.partial,
  // kDiskFull where the file system has less than `size` bytes free (checked before a byte is
  // written), kIo otherwise.
  OutputFile(const std::filesystem::path& path, uint64_t size, const OutputOptions& options);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  const std::string& path() const { return path_; }
  const std::string& partial_path() const { return partial_; }

  // Throws kDiskFull or kIo. Writing outside [0, size) is a programmer error.
  void WriteAt(uint64_t offset, std::span<const uint8_t> bytes);

  // fsync, rename, fsync of the folder.
  void Commit();

 private:
  [[noreturn]] void Fail(int error_number) const;

  std::string path_;
  std::string partial_;
  int fd_ = -1;
  [[maybe_unused]] uint64_t size_;  // for assertions
  bool committed_ = false;
};

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_OUTPUT_FILE_H_
