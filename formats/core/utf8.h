// UTF-8: validation, decoding, encoding. Follows Unicode 15, table 3-7 (no surrogates, no overlong
// forms, nothing above U+10FFFF).
#ifndef QUERN_FORMATS_CORE_UTF8_H_
#define QUERN_FORMATS_CORE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

// Length in bytes (1 to 4) of the well-formed sequence that starts at text[at], or 0.
size_t Utf8SequenceLength(std::string_view text, size_t at);

bool IsValidUtf8(std::string_view text);

// `text` with every byte that is no part of a well-formed sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// Code points of `text`; a malformed byte becomes U+FFFD.
std::vector<char32_t> DecodeUtf8(std::string_view text);

// Code point that starts at text[at]; U+FFFD where malformed. Advances `at` past it.
char32_t NextCodePoint(std::string_view text, size_t& at);

// Appends one code point to `out`.
void AppendUtf8(char32_t code_point, std::string& out);

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_UTF8_H_
