#include "formats/core/metadata.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>

namespace quern {
namespace {

constexpr std::array<std::string_view, kValueTypeCount> kNames = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64"};

auto HasKey(std::string_view key) {
  return [key](const Metadata::Entry& entry) { return entry.first == key; };
}

}  // namespace

std::string_view ValueTypeName(ValueType type) {
  const auto id = static_cast<size_t>(type);
  return id < kNames.size() ? kNames[id] : "unknown";
}

size_t Array::size() const {
  return std::visit(
      [](const auto& values) -> size_t {
        if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::monostate>) {
          return 0;
        } else {
          return values.size();
        }
      },
      items);
}

void Metadata::Set(std::string key, Value value) {
  const auto at = std::find_if(entries_.begin(), entries_.end(), HasKey(key));
  if (at != entries_.end()) {
    at->second = std::move(value);
  } else {
    entries_.emplace_back(std::move(key), std::move(value));
  }
}

void Metadata::Append(std::string key, Value value) {
  entries_.emplace_back(std::move(key), std::move(value));
}

void Metadata::SetLast(std::string key, Value value) {
  Remove(key);
  entries_.emplace_back(std::move(key), std::move(value));
}

bool Metadata::Remove(std::string_view key) { return std::erase_if(entries_, HasKey(key)) > 0; }

const Value* Metadata::Find(std::string_view key) const {
  const auto at = std::find_if(entries_.begin(), entries_.end(), HasKey(key));
  return at == entries_.end() ? nullptr : &at->second;
}

std::optional<int64_t> Metadata::GetInteger(std::string_view key) const {
  const Value* value = Find(key);
  if (!value) return std::nullopt;
  return std::visit(
      [](const auto& v) -> std::optional<int64_t> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          if constexpr (std::is_same_v<T, uint64_t>) {
            if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
          }
          return static_cast<int64_t>(v);
        } else {
          return std::nullopt;
        }
      },
      *value);
}

std::optional<std::string_view> Metadata::GetString(std::string_view key) const {
  const std::string* text = Get<std::string>(key);
  return text ? std::optional<std::string_view>(*text) : std::nullopt;
}

}  // namespace quern
