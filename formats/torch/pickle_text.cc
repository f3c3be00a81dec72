#include "formats/torch/pickle_text.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "formats/core/utf8.h"

namespace quern::formats::torch {
namespace {

// The number that `text` spells in full, or nothing.
std::optional<uint32_t> Digits(std::string_view text, int base) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// What one of the single-letter escapes stands for.
std::optional<char> SimpleEscape(char c) {
  constexpr std::string_view kFrom = "\\'\"abfnrtv";
  constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
  const size_t at = kFrom.find(c);
  if (at == std::string_view::npos) return std::nullopt;
  return kTo[at];
}

}  // namespace

bool IsDecimal(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string BytesOfDecimal(std::string_view decimal) {
  const bool negative = decimal.starts_with('-');
  std::string bytes;
  for (const char digit : decimal.substr(negative)) {
    unsigned carry = static_cast<unsigned>(digit - '0');
    for (char& byte : bytes) {
      carry += static_cast<unsigned char>(byte) * 10u;
      byte = static_cast<char>(carry & 0xff);
      carry >>= 8;
    }
    if (carry != 0) bytes += static_cast<char>(carry);
  }
  if (bytes.empty() || (bytes.back() & 0x80)) bytes += '\0';
  if (negative) {
    unsigned carry = 1;
    for (char& byte : bytes) {
      carry += static_cast<unsigned char>(~byte);
      byte = static_cast<char>(carry & 0xff);
      carry >>= 8;
    }
  }
  return bytes;
}

std::optional<std::string> UnquotePythonString(std::string_view line) {
  if (line.size() < 2 || line.front() != line.back() ||
      (line.front() != '\'' && line.front() != '"')) {
    return std::nullopt;
  }
  line = line.substr(1, line.size() - 2);
  std::string text;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\') {
      text += line[i];
      continue;
    }
    if (++i == line.size()) return std::nullopt;
    if (const auto simple = SimpleEscape(line[i])) {
      text += *simple;
    } else if (line[i] == 'x') {
      const auto value = i + 2 < line.size() ? Digits(line.substr(i + 1, 2), 16) : std::nullopt;
      if (!value) return std::nullopt;
      text += static_cast<char>(*value);
      i += 2;
    } else if (IsOctal(line[i])) {
      size_t length = 1;
      while (length < 3 && i + length < line.size() && IsOctal(line[i + length])) ++length;
      text += static_cast<char>(*Digits(line.substr(i, length), 8));
      i += length - 1;
    } else {
      text += '\\';  // Python keeps an escape that it does not know
      text += line[i];
    }
  }
  return text;
}

std::optional<std::string> DecodeRawUnicode(std::string_view line) {
  std::string text;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool escape =
        line[i] == '\\' && i + 1 < line.size() && (line[i + 1] == 'u' || line[i + 1] == 'U');
    if (!escape) {
      AppendUtf8(static_cast<unsigned char>(line[i]), text);
      continue;
    }
    const size_t length = line[i + 1] == 'u' ? 4 : 8;
    if (i + 2 + length > line.size()) return std::nullopt;
    const auto code_point = Digits(line.substr(i + 2, length), 16);
    const bool surrogate = code_point && *code_point >= 0xd800 && *code_point <= 0xdfff;
    if (!code_point || surrogate || *code_point > 0x10ffff) return std::nullopt;
    AppendUtf8(*code_point, text);
    i += 1 + length;
  }
  return text;
}

}  // namespace quern::formats::torch
