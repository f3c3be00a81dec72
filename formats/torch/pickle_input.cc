#include "formats/torch/pickle_input.h"

#include <fmt/format.h>

#include <algorithm>

namespace quern::formats::torch {
namespace {

constexpr uint64_t kWindowBytes = 64 << 10;

}  // namespace

PickleInput::PickleInput(ReadFunction read, uint64_t size, Where where)
    : read_(std::move(read)), size_(size), where_(std::move(where)) {}

Where PickleInput::At(uint64_t position) const {
  Where where = where_;
  if (where.offset) *where.offset += position;
  return where;
}

void PickleInput::Fill() {
  Require(1);
  window_.resize(std::min(kWindowBytes, remaining()));
  read_(position_, window_);
  next_ = 0;
}

void PickleInput::Require(uint64_t length) const {
  if (length <= remaining()) return;
  throw Error(
      ErrorCode::kTruncated, At(position_),
      fmt::format("the pickle needs {} bytes here and {} are left; the file is cut short or "
                  "damaged, fetch it again",
                  length, remaining()));
}

uint64_t PickleInput::Number(int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= uint64_t{Byte()} << (8 * i);
  return value;
}

std::string PickleInput::Text(uint64_t length) {
  Require(length);
  std::string text;
  text.reserve(length);
  while (text.size() < length) {
    if (next_ == window_.size()) Fill();
    const size_t now = std::min<uint64_t>(length - text.size(), window_.size() - next_);
    text.append(reinterpret_cast<const char*>(window_.data()) + next_, now);
    next_ += now;
    position_ += now;
  }
  return text;
}

void PickleInput::Skip(uint64_t length) {
  Require(length);
  position_ += length;
  if (length <= window_.size() - next_) {
    next_ += length;
  } else {
    window_.clear();
    next_ = 0;
  }
}

std::string PickleInput::Line(uint64_t max_bytes) {
  std::string line;
  for (char c = static_cast<char>(Byte()); c != '\n'; c = static_cast<char>(Byte())) {
    if (line.size() == max_bytes) {
      throw Error(
          ErrorCode::kLimitExceeded, At(position_),
          fmt::format("a line of more than {} bytes; save the file with pickle protocol 2 or "
                      "later",
                      max_bytes));
    }
    line += c;
  }
  return line;
}

}  // namespace quern::formats::torch
