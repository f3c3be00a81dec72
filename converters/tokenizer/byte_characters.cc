// The table behind byte-level BPE: printable Latin-1 stands for itself, the other 68 bytes for
// U+0100, U+0101, ... in order (GPT-2's encoder.py, bytes_to_unicode).
#include <array>
#include <unordered_map>

#include "converters/tokenizer/pre_tokenizer.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

std::array<char32_t, 256> MakeCharacters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
}

const std::array<char32_t, 256>& Characters() {
  static const std::array<char32_t, 256> characters = MakeCharacters();
  return characters;
}

const std::unordered_map<char32_t, char>& Bytes() {
  static const std::unordered_map<char32_t, char> bytes = [] {
    std::unordered_map<char32_t, char> map;
    for (size_t byte = 0; byte < 256; ++byte) map[Characters()[byte]] = static_cast<char>(byte);
    return map;
  }();
  return bytes;
}

}  // namespace

std::string BytesToCharacters(std::string_view text) {
  std::string characters;
  characters.reserve(text.size() + text.size() / 4);
  for (const char byte : text)
    AppendUtf8(Characters()[static_cast<unsigned char>(byte)], characters);
  return characters;
}

std::string CharactersToBytes(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const auto byte = Bytes().find(NextCodePoint(text, at));
    if (byte == Bytes().end()) return std::string(text);
    bytes += byte->second;
  }
  return bytes;
}

}  // namespace quern::converters
