// The YAML front matter of a model card (README.md), from which general.* metadata are taken.
//
// Contract: read as llama.cpp's metadata loader and the YAML 1.1 library behind it read it: front
// matter are the lines between a first line "---" and the next one, or the end; the list item "no"
// is the Norwegian language and not false; a tab stands for two spaces; of equal keys the last
// counts. Unquoted scalars become null, booleans (also yes, no, on, off), integers (decimal, hex,
// octal with a leading 0, binary, with underscores), numbers; all else is text: dates too, and
// integers beyond 64 bits. Non-goals: what the fields mean.
#ifndef QUERN_FORMATS_HUGGINGFACE_FRONT_MATTER_H_
#define QUERN_FORMATS_HUGGINGFACE_FRONT_MATTER_H_

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "formats/core/json.h"

namespace quern::formats::huggingface {

inline constexpr uint64_t kMaxModelCardBytes = uint64_t{16} << 20;
inline constexpr uint64_t kMaxFrontMatterBytes = uint64_t{1} << 20;

// The front matter of the card `text` as a JSON object; empty where there is none or where it is no
// mapping. Throws kBadText (no YAML, invalid UTF-8), kLimitExceeded (size, depth), kUnsupported
// (aliases, which can grow without bound; mappings as keys).
Json ParseFrontMatter(std::string_view text, std::string_view file);

Json ReadFrontMatter(const std::filesystem::path& path);

}  // namespace quern::formats::huggingface

#endif  // QUERN_FORMATS_HUGGINGFACE_FRONT_MATTER_H_
