// Output that appears under its final name only when it is complete.
#ifndef QUERN_FORMATS_CORE_OUTPUT_FILE_H_
#define QUERN_FORMATS_CORE_OUTPUT_FILE_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace quern {

struct OutputOptions {
  bool force = false;  // replace an existing file
  // Start from the FILE.partial that is there, if its size is right, and leave it behind if the
  // work fails again.
  bool resume = false;
};

// What will be written where: final path, bytes.
using OutputSize = std::pair<std::filesystem::path, uint64_t>;

// Throws kDiskFull where a file system has less space than all the files that go there need
// together, kIo where a folder does not exist. What a FILE.partial occupies already counts as free.
void RequireSpace(std::span<const OutputSize> files);

// FILE.partial while it is written; Sync() makes it durable, Publish() renames it to FILE.
// Destroyed before that, it removes the partial file. WriteAt is thread-safe for disjoint ranges.
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
  // Whether it holds what an earlier run left (OutputOptions::resume); else it is all zeros.
  bool resumed() const { return resumed_; }

  // Throws kDiskFull or kIo. Writing outside [0, size) is a programmer error.
  void WriteAt(uint64_t offset, std::span<const uint8_t> bytes);
  // Fills `out` with what was written, or is left of an earlier run.
  void ReadAt(uint64_t offset, std::span<uint8_t> out) const;

  void Sync();
  // Rename, fsync of the folder. After Sync().
  void Publish();
  // Takes Publish() back where another file of the same run could not be published. A file that
  // was replaced does not come back.
  void Retract() noexcept;
  void Commit();  // Sync, Publish

 private:
  [[noreturn]] void Fail(int error_number) const;
  void Open();
  void Remove() noexcept;

  std::string path_;
  std::string partial_;
  int fd_ = -1;
  [[maybe_unused]] uint64_t size_;
  bool keep_;  // the partial file stays behind
  bool resumed_ = false;
  bool published_ = false;
};

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_OUTPUT_FILE_H_
