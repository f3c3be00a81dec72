// GGUF files built in code, valid or not: every field is written as it is given.
#ifndef QUERN_TESTS_FORMATS_GGUF_GGUF_TESTING_H_
#define QUERN_TESTS_FORMATS_GGUF_GGUF_TESTING_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/core/metadata.h"
#include "formats/gguf/gguf_header.h"

namespace quern::formats::gguf {

class GgufBytes {
 public:
  explicit GgufBytes(uint32_t version = 3, std::endian endian = std::endian::little)
      : version_(version), endian_(endian) {}

  // Magic, version and counts.
  GgufBytes& Head(uint64_t tensors, uint64_t keys) {
    Raw("GGUF");
    return Put(version_).Size(tensors).Size(keys);
  }

  template <typename T>
  GgufBytes& Put(T value) {
    auto raw = std::bit_cast<std::array<uint8_t, sizeof(T)>>(value);
    if (endian_ != std::endian::native) std::reverse(raw.begin(), raw.end());
    for (const uint8_t byte : raw) data_.push_back(byte);
    return *this;
  }
  // A count, length or dimension, in the version's width.
  GgufBytes& Size(uint64_t value) {
    return version_ == 1 ? Put(static_cast<uint32_t>(value)) : Put(value);
  }
  GgufBytes& Text(std::string_view text) { return Size(text.size()).Raw(text); }
  GgufBytes& Raw(std::string_view bytes) {
    for (const char byte : bytes) data_.push_back(static_cast<uint8_t>(byte));
    return *this;
  }
  GgufBytes& Type(ValueType type) { return Put(static_cast<uint32_t>(type)); }
  GgufBytes& Key(std::string_view key, ValueType type) { return Text(key).Type(type); }
  GgufBytes& Key(std::string_view key, const Value& value) {
    Key(key, TypeOf(value));
    std::visit([this](const auto& item) { Item(item); }, value);
    return *this;
  }
  // `ne`: innermost dimension first, as stored.
  GgufBytes& Tensor(std::string_view name, const std::vector<uint64_t>& ne, uint32_t type,
                    uint64_t offset) {
    Text(name).Put(static_cast<uint32_t>(ne.size()));
    for (const uint64_t size : ne) Size(size);
    return Put(type).Put(offset);
  }
  GgufBytes& Zeros(uint64_t count) {
    data_.resize(data_.size() + count);
    return *this;
  }
  GgufBytes& Pad(uint64_t alignment = 32) {
    while (data_.size() % alignment != 0) data_.push_back(0);
    return *this;
  }

  std::vector<uint8_t>& data() { return data_; }
  operator std::span<const uint8_t>() const { return data_; }

 private:
  template <typename T>
  void Item(const T& item) {
    if constexpr (std::is_same_v<T, std::string>) {
      Text(item);
    } else if constexpr (std::is_same_v<T, Array>) {
      Type(item.type()).Size(item.size());
      std::visit(
          [this]<typename Items>(const Items& items) {
            if constexpr (!std::is_same_v<Items, std::monostate>) {
              for (typename Items::const_reference value : items) Item(value);
            }
          },
          item.items);
    } else {
      Put(item);
    }
  }

  uint32_t version_;
  std::endian endian_;
  std::vector<uint8_t> data_;
};

inline Header ParseBytes(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, "test.gguf");
  return ParseHeader(reader);
}

// One entry for each value type, and an array of each, empty ones too.
Metadata MetadataOfAllTypes();

}  // namespace quern::formats::gguf

#endif  // QUERN_TESTS_FORMATS_GGUF_GGUF_TESTING_H_
