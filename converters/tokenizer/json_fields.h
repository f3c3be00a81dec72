// Fields of the JSON objects in tokenizer files, checked as they are read.
#ifndef QUERN_CONVERTERS_TOKENIZER_JSON_FIELDS_H_
#define QUERN_CONVERTERS_TOKENIZER_JSON_FIELDS_H_

#include <string>
#include <string_view>

#include "formats/core/json.h"

namespace quern::converters {

// The member, or null where `object` is no object or has no such member.
const Json& Member(const Json& object, std::string_view name);

// `fallback` where the member is absent or null; kBadType where it is something else.
bool BoolField(const Json& object, std::string_view name, bool fallback);
std::string StringField(const Json& object, std::string_view name, std::string_view fallback = "");

// The array; an empty one where absent or null; kBadType where it is something else.
const Json& ArrayField(const Json& object, std::string_view name);

// The member "type" of a component of tokenizer.json. kMissing without it.
std::string TypeField(const Json& object, std::string_view component);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_JSON_FIELDS_H_
