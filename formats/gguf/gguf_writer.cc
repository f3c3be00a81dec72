#include "formats/gguf/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <unordered_set>

#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/gguf/gguf_format.h"

namespace quern::formats::gguf {
namespace {

constexpr uint64_t kMaxFileBytes = std::numeric_limits<int64_t>::max();

// Builds header bytes as gguf_header.h lays them out for version 3.
class HeaderBytes {
 public:
  template <typename T>
  void Put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    auto raw = std::bit_cast<std::array<uint8_t, sizeof(T)>>(value);
    if (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
    Append(raw.data(), raw.size());
  }
  void PutText(std::string_view text) {
    Put<uint64_t>(text.size());
    Append(text.data(), text.size());
  }
  void PutType(ValueType type) { Put(static_cast<uint32_t>(type)); }
  void PutMagic() { Append(kMagic.data(), kMagic.size()); }
  void Pad(uint64_t alignment) { bytes_.resize(AlignUp(bytes_.size(), alignment)); }
  std::vector<uint8_t> Take() { return std::move(bytes_); }
  uint64_t size() const { return bytes_.size(); }

 private:
  void Append(const void* data, size_t size) {
    const size_t end = bytes_.size();
    bytes_.resize(end + size);
    if (size > 0) std::memcpy(bytes_.data() + end, data, size);
  }

  std::vector<uint8_t> bytes_;
};

void CheckLimit(uint64_t count, uint64_t limit, std::string_view what, const Where& where) {
  if (count <= limit) return;
  throw Error(ErrorCode::kLimitExceeded, where,
              fmt::format("{} {}; a GGUF file can have {}", count, what, limit));
}

void PutString(HeaderBytes& out, const std::string& text, const Where& where) {
  CheckLimit(text.size(), kMaxStringBytes, "bytes in a string", where);
  out.PutText(text);
}

void PutArray(HeaderBytes& out, const Array& array, const Where& where) {
  if (array.type() == ValueType::kArray) {
    throw Error(ErrorCode::kBadType, where, "an array without item type; give it one");
  }
  CheckLimit(array.size(), kMaxArrayItems, "items in an array", where);
  out.PutType(array.type());
  out.Put<uint64_t>(array.size());
  std::visit(
      [&]<typename Items>(const Items& items) {
        if constexpr (std::is_same_v<Items, std::vector<std::string>>) {
          for (const auto& text : items) PutString(out, text, where);
        } else if constexpr (!std::is_same_v<Items, std::monostate>) {
          for (const typename Items::value_type item : items) out.Put(item);
        }
      },
      array.items);
}

void PutKey(HeaderBytes& out, const std::string& key, const Value& value) {
  const Where where{{}, {}, key};
  CheckKey(key, where);
  out.PutText(key);
  out.PutType(TypeOf(value));
  std::visit(
      [&]<typename T>(const T& item) {
        if constexpr (std::is_arithmetic_v<T>) {
          out.Put(item);
        } else if constexpr (std::is_same_v<T, Array>) {
          PutArray(out, item, where);
        } else {
          PutString(out, item, where);
        }
      },
      value);
}

void PutMetadata(HeaderBytes& out, const Metadata& metadata) {
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, value] : metadata.entries()) {
    if (!seen.insert(key).second) {
      throw Error(ErrorCode::kDuplicate, {{}, {}, key}, "this key is given twice; give it once");
    }
    PutKey(out, key, value);
  }
}

void PutTensor(HeaderBytes& out, const TensorSpec& tensor, uint64_t offset) {
  out.PutText(tensor.name);
  out.Put(static_cast<uint32_t>(tensor.shape.size()));
  for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) out.Put(*size);
  out.Put(static_cast<uint32_t>(Info(tensor.type).gguf_id));
  out.Put(offset);
}

// Sets bytes, and offsets from the start of the data; returns the size of the data.
uint64_t PlaceTensors(std::span<const TensorSpec> tensors, uint64_t alignment, Layout& layout) {
  std::unordered_set<std::string_view> seen;
  uint64_t end = 0;
  for (const auto& tensor : tensors) {
    const Where where{{}, {}, tensor.name};
    CheckTensorName(tensor.name, where);
    if (!seen.insert(tensor.name).second) {
      throw Error(ErrorCode::kDuplicate, where, "this tensor is given twice; give it once");
    }
    if (Info(tensor.type).gguf_id < 0) {
      throw Error(ErrorCode::kBadType, where,
                  fmt::format("GGUF has no type {}; convert it first", Name(tensor.type)));
    }
    const uint64_t bytes = DataBytes(tensor.type, tensor.shape, where);
    // Both are below 2^63, the padding too.
    const uint64_t next = AlignUp(end + bytes, alignment);
    CheckLimit(next, kMaxFileBytes - kMaxAlignment, "bytes of data", where);
    layout.offsets.push_back(end);
    layout.bytes.push_back(bytes);
    end = next;
  }
  return end;
}

}  // namespace

Layout LayOut(const Metadata& metadata, std::span<const TensorSpec> tensors) {
  CheckLimit(metadata.size(), kMaxKeys, "keys", {});
  CheckLimit(tensors.size(), kMaxTensors, "tensors", {});
  const uint64_t alignment = DataAlignment(metadata, {});
  Layout layout;
  const uint64_t data_bytes = PlaceTensors(tensors, alignment, layout);
  HeaderBytes out;
  out.PutMagic();
  out.Put(kVersion);
  out.Put<uint64_t>(tensors.size());
  out.Put<uint64_t>(metadata.size());
  PutMetadata(out, metadata);
  for (size_t i = 0; i < tensors.size(); ++i) PutTensor(out, tensors[i], layout.offsets[i]);
  out.Pad(alignment);
  const uint64_t file_bytes = out.size() + data_bytes;
  CheckLimit(file_bytes, kMaxFileBytes, "bytes", {});
  for (auto& offset : layout.offsets) offset += out.size();
  layout.file_bytes = file_bytes;
  layout.header = out.Take();
  return layout;
}

Shape WithoutOuterOnes(Shape shape) {
  const auto first = std::find_if(shape.begin(), shape.end(), [](uint64_t n) { return n != 1; });
  const auto keep_one = first == shape.end() && !shape.empty() ? first - 1 : first;
  shape.erase(shape.begin(), keep_one);
  return shape;
}

}  // namespace quern::formats::gguf
