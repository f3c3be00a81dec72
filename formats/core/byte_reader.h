// Bounds-checked sequential reading of binary headers, from a file or from memory.
//
// Every count and length read here is untrusted: a reader never returns bytes that do not exist and
// never allocates more than the bytes behind it. All errors are quern::Error with file, offset and
// the field's name.
#ifndef QUERN_FORMATS_CORE_BYTE_READER_H_
#define QUERN_FORMATS_CORE_BYTE_READER_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern {

class ByteReader {
 public:
  // Reads [begin, end) of `file`, which must outlive the reader, through a small window.
  ByteReader(const File& file, uint64_t begin, uint64_t end);
  explicit ByteReader(const File& file) : ByteReader(file, 0, file.size()) {}

  // Reads `bytes`, which must outlive the reader; `name` stands for the file in errors and `base`
  // is the offset of the first byte.
  ByteReader(std::span<const uint8_t> bytes, std::string name, uint64_t base = 0);

  // Absolute offset of the next byte, and bytes left.
  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return end_ - offset_; }
  const std::string& name() const { return name_; }

  void set_endian(std::endian endian) { endian_ = endian; }
  std::endian endian() const { return endian_; }

  // Next value of an arithmetic type in the reader's byte order. Throws kTruncated.
  template <typename T>
  T Read(std::string_view field) {
    static_assert(std::is_arithmetic_v<T>);
    std::array<uint8_t, sizeof(T)> raw;
    ReadBytes(raw, field);
    if (endian_ != std::endian::native) std::reverse(raw.begin(), raw.end());
    return std::bit_cast<T>(raw);
  }

  void ReadBytes(std::span<uint8_t> out, std::string_view field);
  // Checks `length` against the bytes left before it allocates.
  std::string ReadString(uint64_t length, std::string_view field);
  // `count` values; checks count * sizeof(T) against the bytes left before it allocates.
  template <typename T>
  std::vector<T> ReadArray(uint64_t count, std::string_view field) {
    Require(count, sizeof(T), field);
    std::vector<T> values(count);
    ReadBytes({reinterpret_cast<uint8_t*>(values.data()), count * sizeof(T)}, field);
    if (endian_ != std::endian::native && sizeof(T) > 1) {
      for (T& value : values) {
        auto raw = std::bit_cast<std::array<uint8_t, sizeof(T)>>(value);
        std::reverse(raw.begin(), raw.end());
        value = std::bit_cast<T>(raw);
      }
    }
    return values;
  }
  void Skip(uint64_t bytes, std::string_view field);

  // Throws kTruncated unless `count` items of at least `item_bytes` can still follow.
  void Require(uint64_t count, uint64_t item_bytes, std::string_view field) const;

  // An error at the current position.
  Error Fail(ErrorCode code, std::string_view field, std::string_view message) const;

 private:
  void Fill();

  const File* file_ = nullptr;
  std::string name_;
  std::endian endian_ = std::endian::little;
  uint64_t offset_ = 0;
  uint64_t end_ = 0;
  std::span<const uint8_t> window_;  // bytes from offset_ on that are in memory
  std::vector<uint8_t> buffer_;
};

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_BYTE_READER_H_
