#include "formats/core/byte_reader.h"

#include <fmt/format.h>

#include "formats/core/checked_math.h"

namespace quern {
namespace {

constexpr uint64_t kWindowBytes = 64 << 10;

}  // namespace

ByteReader::ByteReader(const File& file, uint64_t begin, uint64_t end)
    : file_(&file), name_(file.path()), offset_(begin), end_(end) {
  if (begin > end || end > file.size()) {
    throw Error(
        ErrorCode::kOutOfBounds, {name_, begin, {}},
        fmt::format("bytes {} to {} are outside the file of {} bytes", begin, end, file.size()));
  }
}

ByteReader::ByteReader(std::span<const uint8_t> bytes, std::string name, uint64_t base)
    : name_(std::move(name)), offset_(base), end_(base + bytes.size()), window_(bytes) {}

void ByteReader::Fill() {
  const uint64_t bytes = std::min(kWindowBytes, remaining());
  buffer_.resize(bytes);
  file_->ReadAt(offset_, buffer_);
  window_ = buffer_;
}

void ByteReader::ReadBytes(std::span<uint8_t> out, std::string_view field) {
  Require(out.size(), 1, field);
  while (!out.empty()) {
    if (window_.empty()) Fill();
    const size_t now = std::min(out.size(), window_.size());
    std::memcpy(out.data(), window_.data(), now);
    window_ = window_.subspan(now);
    offset_ += now;
    out = out.subspan(now);
  }
}

std::string ByteReader::ReadString(uint64_t length, std::string_view field) {
  Require(length, 1, field);
  std::string text(length, '\0');
  ReadBytes({reinterpret_cast<uint8_t*>(text.data()), text.size()}, field);
  return text;
}

void ByteReader::Skip(uint64_t bytes, std::string_view field) {
  Require(bytes, 1, field);
  offset_ += bytes;
  window_ = window_.subspan(std::min<uint64_t>(bytes, window_.size()));
}

void ByteReader::Require(uint64_t count, uint64_t item_bytes, std::string_view field) const {
  const auto bytes = CheckedMul(count, item_bytes);
  if (bytes && *bytes <= remaining()) return;
  throw Fail(
      ErrorCode::kTruncated, field,
      fmt::format("{} items of at least {} bytes are declared and {} bytes are left; the file "
                  "is cut short or damaged",
                  count, item_bytes, remaining()));
}

Error ByteReader::Fail(ErrorCode code, std::string_view field, std::string_view message) const {
  return Error(code, {name_, offset_, std::string(field)}, message);
}

}  // namespace quern
