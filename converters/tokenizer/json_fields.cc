#include "converters/tokenizer/json_fields.h"

#include "formats/core/error.h"

namespace quern::converters {
namespace {

[[noreturn]] void FailType(std::string_view name, std::string_view expected) {
  throw Error(ErrorCode::kBadType, {.subject = std::string(name)},
              "must be " + std::string(expected) + "; the tokenizer file is damaged");
}

}  // namespace

const Json& Member(const Json& object, std::string_view name) {
  static const Json absent;
  if (!object.is_object()) return absent;
  const auto member = object.find(name);
  return member == object.end() ? absent : *member;
}

bool BoolField(const Json& object, std::string_view name, bool fallback) {
  const Json& value = Member(object, name);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) FailType(name, "true or false");
  return value.get<bool>();
}

std::string StringField(const Json& object, std::string_view name, std::string_view fallback) {
  const Json& value = Member(object, name);
  if (value.is_null()) return std::string(fallback);
  if (!value.is_string()) FailType(name, "a string");
  return value.get<std::string>();
}

const Json& ArrayField(const Json& object, std::string_view name) {
  static const Json empty = Json::array();
  const Json& value = Member(object, name);
  if (value.is_null()) return empty;
  if (!value.is_array()) FailType(name, "an array");
  return value;
}

std::string TypeField(const Json& object, std::string_view component) {
  const Json& type = Member(object, "type");
  if (!type.is_string()) {
    throw Error(ErrorCode::kMissing, {.subject = std::string(component)},
                "has no type; the tokenizer file is damaged");
  }
  return type.get<std::string>();
}

}  // namespace quern::converters
