#include "formats/core/error.h"

#include <fmt/format.h>

#include "formats/core/utf8.h"

namespace quern {
namespace {

std::string OneLine(const Where& where, std::string_view message) {
  std::string line;
  if (!where.file.empty()) line += Printable(where.file, 4096) + ": ";
  if (where.offset) line += fmt::format("at byte {}: ", *where.offset);
  if (!where.subject.empty()) line += Printable(where.subject) + ": ";
  return line + Printable(message, 1 << 16);
}

}  // namespace

int ExitCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCheckFailed:
      return 1;
    case ErrorCode::kUsage:
      return 2;
    case ErrorCode::kIo:
    case ErrorCode::kDiskFull:
    case ErrorCode::kExists:
      return 4;
    case ErrorCode::kUnsupported:
      return 5;
    default:
      return 3;
  }
}

std::string_view ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCheckFailed:
      return "check_failed";
    case ErrorCode::kUsage:
      return "usage";
    case ErrorCode::kTruncated:
      return "truncated";
    case ErrorCode::kBadMagic:
      return "bad_magic";
    case ErrorCode::kBadVersion:
      return "bad_version";
    case ErrorCode::kBadType:
      return "bad_type";
    case ErrorCode::kBadValue:
      return "bad_value";
    case ErrorCode::kBadShape:
      return "bad_shape";
    case ErrorCode::kBadText:
      return "bad_text";
    case ErrorCode::kLimitExceeded:
      return "limit_exceeded";
    case ErrorCode::kOutOfBounds:
      return "out_of_bounds";
    case ErrorCode::kOverlap:
      return "overlap";
    case ErrorCode::kUnusedBytes:
      return "unused_bytes";
    case ErrorCode::kDuplicate:
      return "duplicate";
    case ErrorCode::kMissing:
      return "missing";
    case ErrorCode::kUnexpected:
      return "unexpected";
    case ErrorCode::kMismatch:
      return "mismatch";
    case ErrorCode::kUnsafe:
      return "unsafe";
    case ErrorCode::kNonFinite:
      return "non_finite";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kDiskFull:
      return "disk_full";
    case ErrorCode::kExists:
      return "exists";
    case ErrorCode::kUnsupported:
      return "unsupported";
  }
  return "unknown";
}

Error::Error(ErrorCode code, Where where, std::string_view message)
    : std::runtime_error(OneLine(where, message)),
      code_(code),
      where_(std::move(where)),
      message_(message) {}

std::string Printable(std::string_view text, size_t max_bytes) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    if (out.size() >= max_bytes) return out + "...";
    const size_t length = Utf8SequenceLength(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    // C0, DEL and C1 controls would drive a terminal.
    const bool control = length == 1 ? byte < 0x20 || byte == 0x7f
                                     : length == 2 && byte == 0xc2 &&
                                           static_cast<unsigned char>(text[at + 1]) < 0xa0;
    if (length == 0 || control) {
      out += fmt::format("\\x{:02x}", byte);
      ++at;
    } else {
      out += text.substr(at, length);
      at += length;
    }
  }
  return out;
}

}  // namespace quern
