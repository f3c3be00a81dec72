#include "formats/zip/coverage.h"

#include <zlib.h>

#include <iterator>

namespace quern::formats::zip {
namespace {

// A reader that jumps about so much does not read everything once anyway.
constexpr size_t kMaxPieces = 4096;

}  // namespace

uint32_t Crc32(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(::crc32_z(0, bytes.data(), bytes.size()));
}

bool Coverage::Wants(uint64_t begin, uint64_t bytes) const {
  if (done_ || bytes == 0) return false;
  const auto next = pieces_.lower_bound(begin);
  if (next != pieces_.end() && next->first < begin + bytes) return false;
  return next == pieces_.begin() || std::prev(next)->second.end <= begin;
}

std::optional<uint32_t> Coverage::Add(uint64_t begin, uint64_t bytes, uint32_t crc, uint64_t size) {
  auto at = pieces_.emplace(begin, Piece{begin + bytes, crc}).first;
  if (at != pieces_.begin()) {
    const auto before = std::prev(at);
    if (before->second.end == begin) {
      before->second.crc = static_cast<uint32_t>(
          ::crc32_combine(before->second.crc, crc, static_cast<z_off_t>(bytes)));
      before->second.end = begin + bytes;
      pieces_.erase(at);
      at = before;
    }
  }
  const auto after = std::next(at);
  if (after != pieces_.end() && after->first == at->second.end) {
    const auto length = static_cast<z_off_t>(after->second.end - after->first);
    at->second.crc =
        static_cast<uint32_t>(::crc32_combine(at->second.crc, after->second.crc, length));
    at->second.end = after->second.end;
    pieces_.erase(after);
  }
  const bool whole = at->first == 0 && at->second.end == size;
  const uint32_t total = at->second.crc;
  if (whole || pieces_.size() > kMaxPieces) {
    done_ = true;
    pieces_.clear();
  }
  return whole ? std::optional(total) : std::nullopt;
}

}  // namespace quern::formats::zip
