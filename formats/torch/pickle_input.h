// The bytes of a pickle, read front to back through a small window from wherever they are: a stored
// or deflated zip member, or a place in a legacy file.
#ifndef QUERN_FORMATS_TORCH_PICKLE_INPUT_H_
#define QUERN_FORMATS_TORCH_PICKLE_INPUT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/error.h"

namespace quern::formats::torch {

class PickleInput {
 public:
  using ReadFunction = std::function<void(uint64_t offset, std::span<uint8_t> out)>;

  // `read` gives any range below `size`. `where.offset` is the place of the first byte in the file,
  // absent where there is none (a deflated member).
  PickleInput(ReadFunction read, uint64_t size, Where where);

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return size_ - position_; }
  // File, member and offset of the byte at `position`.
  Where At(uint64_t position) const;

  uint8_t Byte() {
    if (next_ == window_.size()) Fill();
    ++position_;
    return window_[next_++];
  }
  // Unsigned little-endian number of 1 to 8 bytes.
  uint64_t Number(int bytes);
  // Checks `length` against what is left before it allocates.
  std::string Text(uint64_t length);
  void Skip(uint64_t length);
  // Up to the next newline, which is dropped. Throws kLimitExceeded beyond `max_bytes`.
  std::string Line(uint64_t max_bytes);

 private:
  void Fill();
  void Require(uint64_t length) const;

  ReadFunction read_;
  uint64_t size_;
  Where where_;
  uint64_t position_ = 0;
  std::vector<uint8_t> window_;
  size_t next_ = 0;  // of the window
};

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_PICKLE_INPUT_H_
