// The Unicode properties and normal forms that tokenizers ask for, from utf8proc's tables.
//
// Text is UTF-8; malformed bytes are the caller's to replace first (ReplaceInvalidUtf8). The
// definitions are those of Rust's char methods, because Hugging Face's tokenizers use them.
#ifndef QUERN_CONVERTERS_TOKENIZER_UNICODE_H_
#define QUERN_CONVERTERS_TOKENIZER_UNICODE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace quern::converters {

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

std::string NormalizeUnicode(std::string_view text, NormalForm form);

bool IsWhitespace(char32_t c);        // White_Space
bool IsNumeric(char32_t c);           // Nd, Nl, No
bool IsPunctuation(char32_t c);       // P*, and the ASCII symbols that Python counts in
bool IsMark(char32_t c);              // Mn, Mc, Me
bool IsNonspacingMark(char32_t c);    // Mn
bool IsOther(char32_t c);             // C*: control, format, surrogate, private use, unassigned
bool IsWordCharacter(char32_t c);     // \w: alphabetic, marks, decimal digits, connectors
bool IsChineseCharacter(char32_t c);  // the CJK blocks that BERT isolates

// Full lower case, code point by code point (no context: as Rust's char::to_lowercase).
std::string ToLower(std::string_view text);

// The code points of `text` for which `keep` holds.
std::string Filter(std::string_view text, const std::function<bool(char32_t)>& keep);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_UNICODE_H_
