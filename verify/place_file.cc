#include "verify/place_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/output_file.h"
#include "verify/sha256.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPiece = 4 << 20;

using Sink = std::function<void(uint64_t offset, std::span<const uint8_t> bytes)>;

// Reads `file` through, for its digest and for `sink`.
std::string ReadThrough(const File& file, const Sink& sink) {
  Sha256 hash;
  std::vector<uint8_t> buffer(std::min(kPiece, file.size()));
  for (uint64_t at = 0; at < file.size(); at += kPiece) {
    const auto piece = std::span(buffer).first(std::min(kPiece, file.size() - at));
    file.WillNeed(at + piece.size(), kPiece);
    file.ReadAt(at, piece);
    hash.Update(piece);
    if (sink) sink(at, piece);
  }
  return hash.HexDigest();
}

void RequireDigest(const std::string& found, std::string_view expected, const fs::path& source) {
  if (found == expected) return;
  throw Error(ErrorCode::kMismatch, {source.string(), {}, {}},
              fmt::format("the SHA-256 of its content is {} and should be {}; the file is damaged, "
                          "fetch it again",
                          found, expected));
}

// The name under which a link is made, so that it appears whole.
fs::path TemporaryOf(const fs::path& destination) {
  return destination.string() + fmt::format(".{}.partial", ::getpid());
}

void Sync(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)::fsync(fd);  // a file that was there before: what can fail failed when it was written
  ::close(fd);
}

// `temporary` becomes `destination`. A rename between two names of one file does nothing, so that
// the temporary name goes by hand.
bool Publish(const fs::path& temporary, const fs::path& destination) {
  Sync(temporary);
  const bool done = ::rename(temporary.c_str(), destination.c_str()) == 0;
  ::unlink(temporary.c_str());
  if (done) Sync(fs::absolute(destination).parent_path());
  return done;
}

bool HardLink(const fs::path& source, const fs::path& destination) {
  const fs::path temporary = TemporaryOf(destination);
  return ::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, temporary.c_str(), AT_SYMLINK_FOLLOW) == 0 &&
         Publish(temporary, destination);
}

bool Reflink(const fs::path& source, const fs::path& destination) {
  const fs::path temporary = TemporaryOf(destination);
  const int in = ::open(source.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return false;
  const int out = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const bool shared = out >= 0 && ::ioctl(out, FICLONE, in) == 0 && ::fsync(out) == 0;
  ::close(in);
  if (out < 0) return false;
  ::close(out);
  if (shared) return Publish(temporary, destination);
  ::unlink(temporary.c_str());
  return false;
}

}  // namespace

std::string_view PlacementName(Placement placement) {
  if (placement == Placement::kHardLink) return "hard link";
  return placement == Placement::kReflink ? "reflink" : "copy";
}

std::string HashFile(const fs::path& path) { return ReadThrough(File::Open(path), {}); }

Placement PlaceFile(const fs::path& source, const fs::path& destination, std::string_view sha256,
                    const PlaceOptions& options) {
  std::error_code ignored;
  if (!options.force && fs::exists(fs::symlink_status(destination, ignored))) {
    throw Error(ErrorCode::kExists, {destination.string(), {}, {}},
                "the output exists; choose another name or give --force");
  }
  if (!options.copy && fs::equivalent(source, destination, ignored)) {
    RequireDigest(HashFile(source), sha256, source);
    return Placement::kHardLink;  // this very file is there already
  }
  if (!options.copy) {
    RequireDigest(HashFile(source), sha256, source);
    if (HardLink(source, destination)) return Placement::kHardLink;
    if (Reflink(source, destination)) return Placement::kReflink;
  }
  const File file = File::Open(source);
  OutputFile output(destination, file.size(), {.force = options.force});
  const std::string found = ReadThrough(file, [&](uint64_t offset, std::span<const uint8_t> bytes) {
    output.WriteAt(offset, bytes);
  });
  RequireDigest(found, sha256, source);
  output.Commit();
  return Placement::kCopy;
}

}  // namespace quern::verify
