#include "cli/metadata_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>

#include "formats/core/error.h"

namespace quern::cli {
namespace {

// Items [first, first + limit) of an array, as far as there are such.
Json Items(const Array& array, size_t limit, size_t first = 0) {
  return std::visit(
      [&](const auto& values) {
        Json list = Json::array();
        if constexpr (!std::is_same_v<std::decay_t<decltype(values)>, std::monostate>) {
          const size_t end =
              first + std::min(limit, values.size() - std::min(first, values.size()));
          for (size_t i = first; i < end; ++i) {
            list.push_back(typename std::decay_t<decltype(values)>::value_type(values[i]));
          }
        }
        return list;
      },
      array.items);
}

}  // namespace

Json ValueToJson(const Value& value, bool full) {
  if (const Array* array = std::get_if<Array>(&value)) {
    if (full || array->size() <= kShortArray) return Items(*array, array->size());
    return {{"of", ValueTypeName(array->type())},
            {"n", array->size()},
            {"first", Items(*array, kShortArray)}};
  }
  return std::visit(
      [](const auto& scalar) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(scalar)>, Array>) {
          return nullptr;
        } else {
          return scalar;
        }
      },
      value);
}

Json ItemToJson(const Array& array, uint64_t index) {
  const Json items = Items(array, 1, index);
  return items.empty() ? Json() : items.front();
}

Json MetadataToJson(const Metadata& metadata, bool full) {
  Json list = Json::array();
  for (const auto& [key, value] : metadata.entries()) {
    list.push_back({{"key", key},
                    {"type", ValueTypeName(TypeOf(value))},
                    {"value", ValueToJson(value, full)}});
  }
  return list;
}

std::string ValueText(const Value& value, bool full) {
  const size_t limit = full ? std::string::npos : 100;
  if (const auto* text = std::get_if<std::string>(&value)) return Printable(*text, limit);
  const Array* array = std::get_if<Array>(&value);
  const Json json = ValueToJson(value, full);
  const auto dump = [](const Json& j) {
    return j.dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  if (!array) return dump(json);
  if (!json.is_object()) return Printable(dump(json), limit);
  return fmt::format("{} x {}: {}", array->size(), ValueTypeName(array->type()),
                     Printable(dump(json["first"]), limit));
}

}  // namespace quern::cli
