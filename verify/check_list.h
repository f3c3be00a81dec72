// What `quern verify` has to do and what it found: files with what is known of them beforehand.
//
// Whoever recognizes a store, a list or a model adds files to a CheckList, each with the size and
// the digests that somebody promised and with the tensors that it should hold; Run() then reads
// every file once, in parallel, for all of that together. What is wrong is a Problem, never an
// exception: one broken file does not hide the next. Nothing is ever changed or deleted.
#ifndef QUERN_VERIFY_CHECK_LIST_H_
#define QUERN_VERIFY_CHECK_LIST_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/model.h"
#include "verify/digest.h"

namespace quern::verify {

struct Problem {
  std::string path;
  std::string kind;    // one of the names below or of ErrorCodeName(); docs/verify.md lists them
  std::string detail;  // one line
  auto operator<=>(const Problem&) const = default;
};

// Kinds of problems that are no ErrorCode of a reader.
inline constexpr std::string_view kChecksum = "checksum";      // other bytes than promised
inline constexpr std::string_view kSize = "size";              // another size than promised
inline constexpr std::string_view kMissingFile = "missing";    // also ErrorCode::kMissing
inline constexpr std::string_view kUnsafePath = "unsafe";      // also ErrorCode::kUnsafe
inline constexpr std::string_view kDangling = "dangling";      // a link or reference to nothing
inline constexpr std::string_view kIncomplete = "incomplete";  // a download that did not finish
inline constexpr std::string_view kOrphan = "orphan";          // nothing refers to this file
inline constexpr std::string_view kBadName = "bad_name";       // a blob whose name is no digest
inline constexpr std::string_view kLfsPointer = "lfs_pointer";
inline constexpr std::string_view kHtmlPage = "html_page";
inline constexpr std::string_view kEmpty = "empty";

// The kind is the code's name, the path the file that the error names or else `path`.
Problem ProblemOf(const Error& error, const std::filesystem::path& path);

// git's SHA-1 of the git-LFS pointer to a file: what an index has in place of the file's own.
std::string PointerDigest(const std::string& sha256, uint64_t bytes);

struct ExpectedDigest {
  DigestKind kind;
  std::string hex;      // lower case
  std::string said_by;  // "its name", "SHA256SUMS", a path
  // The digest may also be that of the git-LFS pointer to the file: what an index has.
  bool or_of_pointer = false;
};

// Where a tensor's little-endian bytes are in a file.
struct StoredTensor {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  TensorType type = TensorType::kF32;
  std::string name;
};

struct FileCheck {
  std::filesystem::path path;  // as problems name it
  std::optional<uint64_t> size;
  std::string size_said_by;
  std::vector<ExpectedDigest> digests;
  std::vector<StoredTensor> tensors;
  bool want_sha256 = false;
  // results
  std::string sha256;  // where it was computed
  uint64_t bytes = 0;  // of the file
  uint64_t device = 0, inode = 0;

  // Adds a digest unless the same one is expected already. Links with several names, of which each
  // promises something, are one file.
  void Expect(ExpectedDigest digest);
};

struct Orphan {
  std::string path;
  uint64_t bytes = 0;
};

struct CheckProgress {
  uint64_t done = 0;  // bytes
  uint64_t total = 0;
};

struct RunOptions {
  int threads = 0;
  bool weights = true;                                      // look for NaN and infinity
  std::function<void(const CheckProgress&)> progress = {};  // by one thread at a time; may throw
};

class CheckList {
 public:
  // The file, added if it is not there yet: a file that is named twice (by a manifest and a list,
  // through a link) is one. Valid until the list is destroyed.
  FileCheck& Add(const std::filesystem::path& path);
  void Report(const std::filesystem::path& path, std::string_view kind, std::string detail);
  void Report(const Error& error, const std::filesystem::path& path);
  void Note(std::string note) { notes_.push_back(std::move(note)); }
  void AddOrphan(const std::filesystem::path& path);
  // Tensors that only the reader can give (strided, byte-swapped, compressed) are read through it.
  void AddSource(std::shared_ptr<const ModelSource> source);

  // Reads all files. Only what `progress` throws leaves this.
  void Run(const RunOptions& options);

  // Every problem once, by path.
  std::vector<Problem> problems() const { return {problems_.begin(), problems_.end()}; }
  const std::vector<std::string>& notes() const { return notes_; }
  const std::vector<Orphan>& orphans() const { return orphans_; }
  // By canonical path.
  const std::map<std::filesystem::path, FileCheck>& files() const { return files_; }
  std::map<std::filesystem::path, FileCheck>& files() { return files_; }
  uint64_t bytes() const { return bytes_; }  // that were read
  size_t checked() const { return files_.size() + items_; }
  // Something besides a file was checked: a manifest, a list.
  void CountItem() { ++items_; }

 private:
  std::map<std::filesystem::path, FileCheck> files_;
  std::vector<std::shared_ptr<const ModelSource>> sources_;
  std::set<Problem> problems_;
  std::vector<std::string> notes_;
  std::vector<Orphan> orphans_;
  uint64_t bytes_ = 0;
  size_t items_ = 0;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_CHECK_LIST_H_
