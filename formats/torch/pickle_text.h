// The texts of pickle protocol 0: decimal integers, quoted strings, escaped Unicode.
#ifndef QUERN_FORMATS_TORCH_PICKLE_TEXT_H_
#define QUERN_FORMATS_TORCH_PICKLE_TEXT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace quern::formats::torch {

// Longest decimal integer whose value is kept: enough for 256 bits.
inline constexpr size_t kMaxBigDecimal = 78;

// Digits, with a minus sign or not.
bool IsDecimal(std::string_view text);

// Little-endian two's complement, as few bytes as the value and its sign need: what LONG1 stores.
std::string BytesOfDecimal(std::string_view decimal);

// 'text' or "text" with Python's escapes; absent where it is not quoted or an escape is broken.
std::optional<std::string> UnquotePythonString(std::string_view line);

// Latin-1 with \uXXXX and \UXXXXXXXX, to UTF-8; absent where an escape is broken.
std::optional<std::string> DecodeRawUnicode(std::string_view line);

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_PICKLE_TEXT_H_
