// The one exception type of quern, and the closed list of what can go wrong.
//
// A library call either does what it says or throws Error with what happened, where (file, byte
// offset, field or member or tensor) and what to do about it. what() is one printable line.
// Expected absence is std::optional, not an error. Exceptions of third-party libraries are
// translated where they arise.
#ifndef QUERN_FORMATS_CORE_ERROR_H_
#define QUERN_FORMATS_CORE_ERROR_H_

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace quern {

// Each code belongs to one exit code of the command line (ExitCode below).
enum class ErrorCode {
  // exit 1: a check that was asked for did not hold
  kCheckFailed,
  // exit 2: the caller asked for something that makes no sense
  kUsage,
  // exit 3: bad input
  kTruncated,      // fewer bytes than the structure needs or declares
  kBadMagic,       // not the format that it claims to be
  kBadVersion,     // a version of the format that does not exist or is not read
  kBadType,        // a type id or type name that is unknown or wrong for this field
  kBadValue,       // a value outside its range, or inconsistent with another
  kBadShape,       // dimensions: count, zero, overflow, not divisible by the block
  kBadText,        // JSON, UTF-8, protobuf, YAML or pickle that cannot be parsed
  kLimitExceeded,  // larger than a documented limit
  kOutOfBounds,    // an offset or length that leaves the file or the member
  kOverlap,        // two things claim the same bytes
  kUnusedBytes,    // a hole, or bytes after the end
  kDuplicate,      // a key, tensor or member named twice
  kMissing,        // a file, key or tensor that is needed and absent
  kUnexpected,     // a tensor or member that nothing accounts for
  kMismatch,       // a checksum, size or content that disagrees with its declaration
  kUnsafe,         // code in a pickle, a path that leaves its folder
  kNonFinite,      // NaN or infinity among weights
  // exit 4: I/O
  kIo,
  kDiskFull,
  kExists,  // the output is there already and --force was not given
  // exit 5: understood, and not supported
  kUnsupported,
};

// The documented exit code of the command line for an error: 1 check failed, 2 usage, 3 bad input,
// 4 I/O, 5 unsupported.
int ExitCode(ErrorCode code);

// The code's name as it appears in JSON and tests, e.g. "truncated".
std::string_view ErrorCodeName(ErrorCode code);

// Where an error is. Every part may be empty.
struct Where {
  std::string file;                // path as the user gave it or as it was resolved
  std::optional<uint64_t> offset;  // byte offset in that file
  std::string subject;             // field, key, member or tensor
};

class Error : public std::runtime_error {
 public:
  // `message` says what is wrong and, after a semicolon, what to do.
  Error(ErrorCode code, Where where, std::string_view message);

  ErrorCode code() const { return code_; }
  const Where& where() const { return where_; }
  const std::string& message() const { return message_; }

 private:
  ErrorCode code_;
  Where where_;
  std::string message_;
};

// `text` with control characters and invalid UTF-8 replaced by escapes, cut to `max_bytes`: names
// out of untrusted files go to terminals and logs only through this.
std::string Printable(std::string_view text, size_t max_bytes = 200);

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_ERROR_H_
