// Metadata as JSON and as text for people.
#ifndef QUERN_CLI_METADATA_JSON_H_
#define QUERN_CLI_METADATA_JSON_H_

#include <string>

#include "formats/core/json.h"
#include "formats/core/metadata.h"

namespace quern::cli {

// [{key, type, value}, ...]. Without `full` an array of more than kShortArray items becomes
// {"of": element type, "n": length, "first": its first items}.
Json MetadataToJson(const Metadata& metadata, bool full);

// The value of one entry, as above.
Json ValueToJson(const Value& value, bool full);

// Item `index` of an array.
Json ItemToJson(const Array& array, uint64_t index);

// One line; without `full` long strings and arrays are cut.
std::string ValueText(const Value& value, bool full);

inline constexpr size_t kShortArray = 16;

}  // namespace quern::cli

#endif  // QUERN_CLI_METADATA_JSON_H_
