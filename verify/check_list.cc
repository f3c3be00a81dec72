#include "verify/check_list.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <new>

#include "converters/parallel.h"
#include "verify/tensor_scan.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

// Stays in the second-level cache between the copy out of the page cache and the digest; the
// system reads ahead meanwhile, and is asked for kAhead bytes more.
constexpr uint64_t kPiece = 256 << 10;
constexpr uint64_t kAhead = 8 << 20;

// Begins with a page: the copy out of the page cache took three times as long (Zen 3) into a buffer
// that began 16 bytes behind one.
struct Scratch {
  static constexpr std::align_val_t kPage{4096};
  struct Free {
    void operator()(uint8_t* bytes) const { ::operator delete[](bytes, kPage); }
  };
  std::unique_ptr<uint8_t[], Free> buffer{new (kPage) uint8_t[kPiece]};
};

// One unit of work of Run(): a file, or a tensor that is read through its source.
struct Job {
  FileCheck* file = nullptr;
  const ModelSource* source = nullptr;
  const TensorInfo* tensor = nullptr;
  uint64_t bytes = 0;
};

class Runner {
 public:
  Runner(const RunOptions& options, std::vector<Job> jobs)
      : options_(options), jobs_(std::move(jobs)), problems_(jobs_.size()) {
    // The largest first: no thread is left with it in the end.
    std::stable_sort(jobs_.begin(), jobs_.end(),
                     [](const Job& a, const Job& b) { return a.bytes > b.bytes; });
    for (const Job& job : jobs_) progress_.total += job.bytes;
  }

  std::vector<Problem> Run() {
    converters::ForEachInParallel<Scratch>(
        static_cast<int64_t>(jobs_.size()), options_.threads,
        [this](int64_t i, Scratch& scratch) { RunJob(static_cast<size_t>(i), scratch); });
    std::vector<Problem> all;
    for (auto& problems : problems_) all.insert(all.end(), problems.begin(), problems.end());
    return all;
  }

  uint64_t bytes() const { return progress_.done; }

 private:
  void RunJob(size_t i, Scratch& scratch) {
    const Job& job = jobs_[i];
    try {
      if (job.file != nullptr) {
        ReadFile(*job.file, problems_[i], scratch);
      } else {
        ReadTensor(*job.source, *job.tensor, problems_[i], scratch);
      }
    } catch (const Error& error) {
      if (interrupted_) throw;
      problems_[i].push_back(
          ProblemOf(error, job.file != nullptr ? job.file->path : job.source->path()));
    }
  }

  void ReadFile(FileCheck& check, std::vector<Problem>& problems, Scratch& scratch) {
    const File file = File::Open(check.path);
    if (check.size && *check.size != file.size()) {
      problems.push_back({check.path.string(), std::string(kSize),
                          fmt::format("has {} bytes and should have {}, says {}", file.size(),
                                      *check.size, check.size_said_by)});
    }
    std::vector<Digest> digests;
    for (const ExpectedDigest& expected : check.digests) {
      digests.emplace_back(expected.kind, file.size());
    }
    if (NeedsSha256(check)) digests.emplace_back(DigestKind::kSha256);
    TensorScan scan(Scans(check) ? std::span<const StoredTensor>(check.tensors)
                                 : std::span<const StoredTensor>(),
                    [&](const StoredTensor& tensor, uint64_t block) {
                      problems.push_back(NonFinite(check.path, tensor.name, tensor.type, block));
                    });
    if (digests.empty() && !Scans(check)) return;
    const bool zeros = Read(file, digests, scan, scratch);
    Compare(check, digests, zeros, problems);
  }

  // Whether all bytes are zero.
  bool Read(const File& file, std::vector<Digest>& digests, TensorScan& scan, Scratch& scratch) {
    bool zeros = file.size() > 0;
    for (uint64_t offset = 0; offset < file.size();) {
      const uint64_t bytes = std::min(kPiece, file.size() - offset);
      const std::span<uint8_t> piece(scratch.buffer.get(), bytes);
      if (offset % kAhead == 0) file.WillNeed(offset + kAhead, kAhead);
      file.ReadAt(offset, piece);
      for (Digest& digest : digests) digest.Update(piece);
      scan.Update(piece);
      zeros = zeros && std::all_of(piece.begin(), piece.end(), [](uint8_t b) { return b == 0; });
      offset += bytes;
      Advance(bytes);
    }
    return zeros;
  }

  bool Scans(const FileCheck& check) const { return options_.weights && !check.tensors.empty(); }

  static bool NeedsSha256(const FileCheck& check) {
    const bool pointer = std::any_of(check.digests.begin(), check.digests.end(),
                                     [](const auto& digest) { return digest.or_of_pointer; });
    return (check.want_sha256 || pointer) &&
           std::none_of(check.digests.begin(), check.digests.end(),
                        [](const auto& digest) { return digest.kind == DigestKind::kSha256; });
  }

  static void Compare(FileCheck& check, std::vector<Digest>& digests, bool zeros,
                      std::vector<Problem>& problems) {
    std::vector<std::string> found;
    for (Digest& digest : digests) found.push_back(digest.HexDigest());
    for (size_t i = 0; i < found.size(); ++i) {
      const bool is_extra = i == check.digests.size();
      if (is_extra || check.digests[i].kind == DigestKind::kSha256) check.sha256 = found[i];
    }
    for (size_t i = 0; i < check.digests.size(); ++i) {
      const ExpectedDigest& expected = check.digests[i];
      if (found[i] == expected.hex || IsOfPointer(check, expected)) continue;
      problems.push_back(
          {check.path.string(), std::string(kChecksum),
           fmt::format("{} is {} and should be {}, says {}; {}", DigestName(expected.kind),
                       found[i], expected.hex, expected.said_by,
                       zeros ? "every byte is zero, fetch it again"
                             : "the file is damaged, fetch it again")});
    }
  }

  static bool IsOfPointer(const FileCheck& check, const ExpectedDigest& expected) {
    return expected.or_of_pointer && PointerDigest(check.sha256, check.bytes) == expected.hex;
  }

  static Problem NonFinite(const fs::path& path, const std::string& tensor, TensorType type,
                           uint64_t block) {
    return {path.string(), std::string(ErrorCodeName(ErrorCode::kNonFinite)),
            fmt::format("{}: {}; the model is damaged or was converted badly", Printable(tensor),
                        DescribeNonFinite(type, block))};
  }

  void ReadTensor(const ModelSource& source, const TensorInfo& tensor,
                  std::vector<Problem>& problems, Scratch& scratch) {
    const StoredTensor stored{0, tensor.bytes, tensor.type, tensor.name};
    TensorScan scan({&stored, 1}, [&](const StoredTensor&, uint64_t block) {
      problems.push_back(NonFinite(source.path(), tensor.name, tensor.type, block));
    });
    for (uint64_t offset = 0; offset < tensor.bytes;) {
      const uint64_t bytes = std::min(kPiece, tensor.bytes - offset);
      const std::span<uint8_t> piece(scratch.buffer.get(), bytes);
      source.Read(tensor, offset, piece);
      scan.Update(piece);
      offset += bytes;
      Advance(bytes);
    }
  }

  void Advance(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    progress_.done += bytes;
    if (!options_.progress) return;
    try {
      options_.progress(progress_);
    } catch (...) {
      interrupted_ = true;
      throw;
    }
  }

  const RunOptions& options_;
  std::vector<Job> jobs_;
  std::vector<std::vector<Problem>> problems_;  // by job
  std::mutex mutex_;
  CheckProgress progress_;
  std::atomic<bool> interrupted_ = false;  // by the caller: no finding about a file
};

}  // namespace

Problem ProblemOf(const Error& error, const fs::path& path) {
  const Where& where = error.where();
  std::string detail;
  if (where.offset) detail += fmt::format("at byte {}: ", *where.offset);
  if (!where.subject.empty()) detail += Printable(where.subject) + ": ";
  detail += Printable(error.message(), 1 << 16);
  return {where.file.empty() ? path.string() : where.file, std::string(ErrorCodeName(error.code())),
          std::move(detail)};
}

std::string PointerDigest(const std::string& sha256, uint64_t bytes) {
  return DigestOf(
      DigestKind::kGitBlob,
      fmt::format("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", sha256,
                  bytes));
}

void FileCheck::Expect(ExpectedDigest digest) {
  const bool known = std::any_of(digests.begin(), digests.end(), [&](const auto& other) {
    return other.kind == digest.kind && other.hex == digest.hex;
  });
  if (!known) digests.push_back(std::move(digest));
}

FileCheck& CheckList::Add(const fs::path& path) {
  std::error_code ignored;
  const fs::path key = fs::weakly_canonical(path, ignored);
  const auto [at, added] = files_.try_emplace(key.empty() ? path : key);
  FileCheck& check = at->second;
  if (added) {
    check.path = path;
    struct stat status;
    if (::stat(path.c_str(), &status) == 0) {
      check.bytes = static_cast<uint64_t>(status.st_size);
      check.device = status.st_dev;
      check.inode = status.st_ino;
    }
  }
  return check;
}

void CheckList::Report(const fs::path& path, std::string_view kind, std::string detail) {
  problems_.insert({path.string(), std::string(kind), std::move(detail)});
}

void CheckList::Report(const Error& error, const fs::path& path) {
  problems_.insert(ProblemOf(error, path));
}

void CheckList::AddOrphan(const fs::path& path) {
  std::error_code ignored;
  const uint64_t bytes = fs::file_size(path, ignored);
  orphans_.push_back({path.string(), ignored ? 0 : bytes});
}

void CheckList::AddSource(std::shared_ptr<const ModelSource> source) {
  sources_.push_back(std::move(source));
}

void CheckList::Run(const RunOptions& options) {
  std::vector<Job> jobs;
  for (auto& [path, file] : files_) {
    std::sort(file.tensors.begin(), file.tensors.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
    const bool reads =
        (options.weights && !file.tensors.empty()) || file.want_sha256 || !file.digests.empty();
    if (reads || file.size) jobs.push_back({.file = &file, .bytes = reads ? file.bytes : 0});
  }
  for (const auto& source : sources_) {
    for (const TensorInfo& tensor : source->tensors()) {
      if (!options.weights) break;
      jobs.push_back({.source = source.get(), .tensor = &tensor, .bytes = tensor.bytes});
    }
  }
  Runner runner(options, std::move(jobs));
  for (Problem& problem : runner.Run()) problems_.insert(std::move(problem));
  bytes_ = runner.bytes();
}

}  // namespace quern::verify
