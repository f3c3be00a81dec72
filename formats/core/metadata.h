// Key-value metadata with GGUF's value types; the common tongue of all rooms.
//
// The order of keys is kept: it is part of a file's bytes.
#ifndef QUERN_FORMATS_CORE_METADATA_H_
#define QUERN_FORMATS_CORE_METADATA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace quern {

// Ids as stored in GGUF files. The alternatives of Value stand in the same order.
enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};
inline constexpr uint32_t kValueTypeCount = 13;

// "u32", "f32", "str", "arr", ...
std::string_view ValueTypeName(ValueType type);

// An array of one scalar type or of strings. GGUF arrays of arrays exist on paper only; no reader
// that we know accepts them, and neither do we.
struct Array {
  std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
               std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
               std::vector<float>, std::vector<bool>, std::vector<std::string>, std::monostate,
               std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>>
      items;

  ValueType type() const { return static_cast<ValueType>(items.index()); }
  size_t size() const;
  bool operator==(const Array&) const = default;
};

using Value = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool,
                           std::string, Array, uint64_t, int64_t, double>;

inline ValueType TypeOf(const Value& value) { return static_cast<ValueType>(value.index()); }

class Metadata {
 public:
  using Entry = std::pair<std::string, Value>;

  // Replaces the value of `key` where it stands, or appends.
  void Set(std::string key, Value value);
  // Appends without looking for `key`, which the caller knows to be new: a reader that has checked
  // keeps its work linear.
  void Append(std::string key, Value value);
  // Removes `key` where it is, then appends: what llama.cpp does to keys it rewrites.
  void SetLast(std::string key, Value value);
  // Whether there was such a key.
  bool Remove(std::string_view key);

  const Value* Find(std::string_view key) const;
  bool Has(std::string_view key) const { return Find(key) != nullptr; }

  // The value if the key is there and has (exactly) this alternative.
  template <typename T>
  const T* Get(std::string_view key) const {
    const Value* value = Find(key);
    return value ? std::get_if<T>(value) : nullptr;
  }
  // Any integer type, if it is there and fits; floats and strings do not count.
  std::optional<int64_t> GetInteger(std::string_view key) const;
  std::optional<std::string_view> GetString(std::string_view key) const;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  bool operator==(const Metadata&) const = default;

 private:
  std::vector<Entry> entries_;
};

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_METADATA_H_
