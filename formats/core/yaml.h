// YAML from untrusted files as JSON: yaml-cpp's parser behind limits, without its node graph.
//
// Contract: YAML 1.1 as PyYAML reads it, which wrote or will read these files: unquoted scalars
// become null, booleans (also yes, no, on, off), integers (decimal, hex, octal with a leading 0,
// binary, with underscores), numbers; all else is text: dates too, and integers beyond 64 bits. Of
// equal keys the last counts.
#ifndef QUERN_FORMATS_CORE_YAML_H_
#define QUERN_FORMATS_CORE_YAML_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/json.h"

namespace quern {

inline constexpr uint64_t kMaxYamlBytes = uint64_t{2} << 20;
inline constexpr size_t kMaxYamlDepth = 32;

struct YamlOptions {
  std::string_view subject = "file";  // what the text is, for errors
  int first_line = 1;                 // line of the text's first line in its file
};

// The one document of `text`; null where it is empty. Throws kBadText (no YAML, invalid UTF-8, more
// than one document), kLimitExceeded (size, depth), kUnsupported (aliases, which can grow without
// bound; lists or mappings as keys).
Json ParseYaml(std::string_view text, std::string_view file, const YamlOptions& options = {});

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_YAML_H_
