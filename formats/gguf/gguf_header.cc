#include "formats/gguf/gguf_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <type_traits>
#include <unordered_set>

#include "formats/gguf/gguf_data.h"
#include "formats/gguf/gguf_format.h"

namespace quern::formats::gguf {
namespace {

// Types that were once in ggml and have left it: their ids are never used again.
struct RemovedType {
  uint32_t id;
  std::string_view name;
};
constexpr std::array kRemovedTypes = {
    RemovedType{4, "Q4_2"},        RemovedType{5, "Q4_3"},        RemovedType{31, "Q4_0_4_4"},
    RemovedType{32, "Q4_0_4_8"},   RemovedType{33, "Q4_0_8_8"},   RemovedType{36, "IQ4_NL_4_4"},
    RemovedType{37, "IQ4_NL_4_8"}, RemovedType{38, "IQ4_NL_8_8"},
};

// Calls `read` with a std::type_identity of the C++ type that stands for a scalar or string type.
template <typename F>
auto WithType(ValueType type, F read) {
  switch (type) {
    case ValueType::kUint8:
      return read(std::type_identity<uint8_t>{});
    case ValueType::kInt8:
      return read(std::type_identity<int8_t>{});
    case ValueType::kUint16:
      return read(std::type_identity<uint16_t>{});
    case ValueType::kInt16:
      return read(std::type_identity<int16_t>{});
    case ValueType::kUint32:
      return read(std::type_identity<uint32_t>{});
    case ValueType::kInt32:
      return read(std::type_identity<int32_t>{});
    case ValueType::kFloat32:
      return read(std::type_identity<float>{});
    case ValueType::kBool:
      return read(std::type_identity<bool>{});
    case ValueType::kUint64:
      return read(std::type_identity<uint64_t>{});
    case ValueType::kInt64:
      return read(std::type_identity<int64_t>{});
    case ValueType::kFloat64:
      return read(std::type_identity<double>{});
    case ValueType::kString:
    case ValueType::kArray:
      break;
  }
  return read(std::type_identity<std::string>{});
}

class HeaderParser {
 public:
  explicit HeaderParser(ByteReader& reader) : reader_(reader), begin_(reader.offset()) {}

  Header Parse() {
    ReadMagic();
    ReadVersion();
    const auto [tensors, keys] = ReadCounts();
    ReadMetadata(keys);
    header_.alignment = DataAlignment(header_.metadata, reader_.name());
    ReadTensors(tensors);
    header_.data_begin = begin_ + AlignUp(reader_.offset() - begin_, header_.alignment);
    PlaceTensors(header_, reader_);
    return std::move(header_);
  }

 private:
  void ReadMagic();
  void ReadVersion();
  struct Counts {
    uint64_t tensors, keys;
  };
  Counts ReadCounts();
  void ReadMetadata(uint64_t count);
  void ReadTensors(uint64_t count);
  TensorInfo ReadTensor(const std::string& field);
  TensorType ReadTensorType(const std::string& name);

  // A count, length or dimension: its width depends on the version.
  uint64_t ReadSize(std::string_view field) {
    return wide() ? reader_.Read<uint64_t>(field) : reader_.Read<uint32_t>(field);
  }
  uint64_t size_bytes() const { return wide() ? 8 : 4; }
  bool wide() const { return header_.version >= 2; }

  std::string ReadText(uint64_t max_bytes, std::string_view field);
  ValueType ReadValueType(std::string_view key);
  Value ReadValue(std::string_view key);
  Array ReadArray(std::string_view key);
  template <typename T>
  T ReadOne(std::string_view key);
  template <typename T>
  std::vector<T> ReadItems(uint64_t count, std::string_view key);

  ByteReader& reader_;
  const uint64_t begin_;
  Header header_;
};

void HeaderParser::ReadMagic() {
  const std::string magic = reader_.ReadString(kMagic.size(), "magic");
  if (magic == kMagic) return;
  const bool swapped = std::equal(magic.rbegin(), magic.rend(), kMagic.begin());
  throw Error(ErrorCode::kBadMagic, {reader_.name(), begin_, "magic"},
              swapped ? "the magic is byte-swapped (\"FUGG\"); a GGUF file begins with \"GGUF\" in "
                        "both byte orders, write it again"
                      : fmt::format("the file begins with \"{}\", not with \"GGUF\"; it is no GGUF "
                                    "file",
                                    Printable(magic)));
}

void HeaderParser::ReadVersion() {
  const auto exists = [](uint32_t version) {
    return version >= kFirstVersion && version <= kVersion;
  };
  const auto stored = reader_.Read<uint32_t>("version");
  const uint32_t swapped = __builtin_bswap32(stored);
  header_.version = exists(swapped) ? swapped : stored;
  if (exists(swapped)) {
    header_.endian = std::endian::big;
    reader_.set_endian(std::endian::big);
  }
  if (!exists(header_.version) ||
      (header_.endian == std::endian::big && header_.version < kVersion)) {
    throw Error(
        ErrorCode::kBadVersion, {reader_.name(), begin_ + kMagic.size(), "version"},
        fmt::format("version {}{}; versions {} to {} are read, {} in big-endian", header_.version,
                    header_.endian == std::endian::big ? " in big-endian" : "", kFirstVersion,
                    kVersion, kVersion));
  }
}

HeaderParser::Counts HeaderParser::ReadCounts() {
  const Counts counts{ReadSize("tensor count"), ReadSize("key count")};
  const auto plausible = [](uint64_t tensors, uint64_t keys) {
    return tensors <= kMaxTensors && keys <= kMaxKeys;
  };
  if (!plausible(counts.tensors, counts.keys)) {
    if (wide() && plausible(__builtin_bswap64(counts.tensors), __builtin_bswap64(counts.keys))) {
      throw reader_.Fail(ErrorCode::kMismatch, "version",
                         "the version is in one byte order and the counts in the other; the file "
                         "was half converted, fetch or convert it again");
    }
    throw reader_.Fail(ErrorCode::kLimitExceeded, "counts",
                       fmt::format("{} tensors and {} keys are declared; at most {} and {} are "
                                   "supported, the file is damaged",
                                   counts.tensors, counts.keys, kMaxTensors, kMaxKeys));
  }
  reader_.Require(counts.keys, size_bytes() + 1 + 4 + 1, "key count");
  reader_.Require(counts.tensors, 2 * size_bytes() + 1 + 4 + 4 + 8, "tensor count");
  return counts;
}

std::string HeaderParser::ReadText(uint64_t max_bytes, std::string_view field) {
  const uint64_t length = ReadSize(field);
  reader_.Require(length, 1, field);
  if (length > max_bytes) {
    throw reader_.Fail(
        ErrorCode::kLimitExceeded, field,
        fmt::format("a string of {} bytes; at most {} are supported here", length, max_bytes));
  }
  return reader_.ReadString(length, field);
}

void HeaderParser::ReadMetadata(uint64_t count) {
  std::unordered_set<std::string> seen;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = reader_.offset();
    std::string key = ReadText(kMaxKeyBytes, fmt::format("key {} of {}", i + 1, count));
    const Where where{reader_.name(), at, key.empty() ? fmt::format("key {}", i + 1) : key};
    CheckKey(key, where);
    if (!seen.insert(key).second) {
      throw Error(ErrorCode::kDuplicate, where, "this key is there twice; write the file again");
    }
    Value value = ReadValue(key);
    header_.metadata.Append(std::move(key), std::move(value));
  }
}

template <typename T>
T HeaderParser::ReadOne(std::string_view key) {
  if constexpr (std::is_same_v<T, std::string>) {
    return ReadText(kMaxStringBytes, key);
  } else if constexpr (std::is_same_v<T, bool>) {
    const auto byte = reader_.Read<uint8_t>(key);
    if (byte <= 1) return byte == 1;
    throw reader_.Fail(ErrorCode::kBadValue, key,
                       fmt::format("a bool stored as {}; 0 and 1 are allowed", byte));
  } else {
    return reader_.Read<T>(key);
  }
}

template <typename T>
std::vector<T> HeaderParser::ReadItems(uint64_t count, std::string_view key) {
  if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, bool>) {
    std::vector<T> items;
    items.reserve(count);
    for (uint64_t i = 0; i < count; ++i) items.push_back(ReadOne<T>(key));
    return items;
  } else {
    return reader_.ReadArray<T>(count, key);
  }
}

ValueType HeaderParser::ReadValueType(std::string_view key) {
  const auto id = reader_.Read<uint32_t>(key);
  if (id < kValueTypeCount) return static_cast<ValueType>(id);
  throw reader_.Fail(ErrorCode::kBadType, key,
                     fmt::format("value type {} does not exist (0 to {} do); the file is damaged "
                                 "or of an experimental kind",
                                 id, kValueTypeCount - 1));
}

Value HeaderParser::ReadValue(std::string_view key) {
  const ValueType type = ReadValueType(key);
  if (type == ValueType::kArray) return ReadArray(key);
  return WithType(type,
                  [&]<typename T>(std::type_identity<T>) -> Value { return ReadOne<T>(key); });
}

Array HeaderParser::ReadArray(std::string_view key) {
  const ValueType type = ReadValueType(key);
  if (type == ValueType::kArray) {
    throw reader_.Fail(ErrorCode::kBadType, key,
                       "an array of arrays; no GGUF reader accepts that, write it as several keys");
  }
  const uint64_t count = ReadSize(key);
  const uint64_t item_bytes =
      type == ValueType::kString
          ? size_bytes()
          : WithType(type, []<typename T>(std::type_identity<T>) { return sizeof(T); });
  reader_.Require(count, item_bytes, key);
  if (count > kMaxArrayItems) {
    throw reader_.Fail(
        ErrorCode::kLimitExceeded, key,
        fmt::format("an array of {} items; at most {} are supported", count, kMaxArrayItems));
  }
  return WithType(
      type, [&]<typename T>(std::type_identity<T>) { return Array{ReadItems<T>(count, key)}; });
}

void HeaderParser::ReadTensors(uint64_t count) {
  std::unordered_set<std::string> seen;
  header_.tensors.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = reader_.offset();
    TensorInfo tensor = ReadTensor(fmt::format("tensor {} of {}", i + 1, count));
    if (!seen.insert(tensor.name).second) {
      throw Error(ErrorCode::kDuplicate, {reader_.name(), at, tensor.name},
                  "this tensor is listed twice; write the file again");
    }
    header_.tensors.push_back(std::move(tensor));
  }
}

TensorInfo HeaderParser::ReadTensor(const std::string& field) {
  TensorInfo tensor;
  const uint64_t at = reader_.offset();
  tensor.name = ReadText(kMaxKeyBytes, field);
  const Where where{reader_.name(), at, tensor.name.empty() ? field : tensor.name};
  CheckTensorName(tensor.name, where);
  const auto dimensions = reader_.Read<uint32_t>(tensor.name);
  if (dimensions == 0 || dimensions > kMaxDimensions) {
    throw Error(ErrorCode::kBadShape, where,
                fmt::format("{} dimensions; a GGUF tensor has 1 to {}, the file is damaged",
                            dimensions, kMaxDimensions));
  }
  for (uint32_t i = 0; i < dimensions; ++i) tensor.shape.push_back(ReadSize(tensor.name));
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  tensor.type = ReadTensorType(tensor.name);
  tensor.bytes = DataBytes(tensor.type, tensor.shape, where);
  tensor.offset = reader_.Read<uint64_t>(tensor.name);  // from the data's begin, until it is placed
  return tensor;
}

TensorType HeaderParser::ReadTensorType(const std::string& name) {
  const auto id = reader_.Read<uint32_t>(name);
  if (const auto type = TensorTypeFromGgufId(id)) return *type;
  const auto removed = std::find_if(kRemovedTypes.begin(), kRemovedTypes.end(),
                                    [id](const RemovedType& type) { return type.id == id; });
  throw reader_.Fail(
      ErrorCode::kBadType, name,
      removed == kRemovedTypes.end()
          ? fmt::format("tensor type {} does not exist; the file is damaged or newer than quern",
                        id)
          : fmt::format("tensor type {} ({}) was removed from GGUF; take a file of another type",
                        id, removed->name));
}

}  // namespace

Header ParseHeader(ByteReader& reader) { return HeaderParser(reader).Parse(); }

}  // namespace quern::formats::gguf
