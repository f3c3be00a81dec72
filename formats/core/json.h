// JSON from untrusted files: nlohmann/json behind the limits and checks that it does not make.
#ifndef QUERN_FORMATS_CORE_JSON_H_
#define QUERN_FORMATS_CORE_JSON_H_

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

namespace quern {

using Json = nlohmann::json;

struct JsonOptions {
  bool comments = false;     // accept // and /* */ (our own architecture files)
  int max_depth = 64;        // nesting of arrays and objects
  uint64_t base_offset = 0;  // offset of the text in its file, for errors
};

// Largest side file that is read whole. The largest tokenizer.json in use is about 35 MB.
inline constexpr uint64_t kMaxJsonFileBytes = uint64_t{256} << 20;

// Parses all of `text`. Throws kBadText (syntax, bytes after the value, invalid UTF-8, numbers
// out of range), kDuplicate (an object that has a key twice), kLimitExceeded (depth); errors name
// `file` and the byte offset. A UTF-8 byte order mark is skipped.
Json ParseJson(std::string_view text, std::string_view file, const JsonOptions& options = {});

Json ReadJsonFile(const std::filesystem::path& path, const JsonOptions& options = {});

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_JSON_H_
