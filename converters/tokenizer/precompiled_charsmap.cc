#include "converters/tokenizer/precompiled_charsmap.h"

#include <openssl/evp.h>

#include <algorithm>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

[[noreturn]] void Fail(ErrorCode code, std::string_view message) {
  throw Error(code, {.subject = "precompiled_charsmap"},
              std::string(message) + "; the tokenizer file is damaged");
}

std::string DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0) Fail(ErrorCode::kBadText, "is no base64");
  std::string bytes(text.size() / 4 * 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  if (length < 0) Fail(ErrorCode::kBadText, "is no base64");
  const size_t padding = static_cast<size_t>(std::count(
      text.end() - static_cast<ptrdiff_t>(std::min<size_t>(2, text.size())), text.end(), '='));
  bytes.resize(static_cast<size_t>(length) - padding);
  return bytes;
}

uint32_t LittleEndian32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Label(uint32_t unit) { return unit & 0x800000ffu; }
size_t Offset(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 0x200u) >> 6); }
size_t LeafValue(uint32_t unit) { return unit & 0x7fffffffu; }

}  // namespace

PrecompiledCharsmap::PrecompiledCharsmap(std::string_view base64) {
  constexpr size_t kMaxBase64 = size_t{64} << 20;
  if (base64.empty()) return;
  if (base64.size() > kMaxBase64) Fail(ErrorCode::kLimitExceeded, "is larger than 64 MiB");
  const std::string bytes = DecodeBase64(base64);
  if (bytes.size() < 4) Fail(ErrorCode::kOutOfBounds, "is too short");
  const uint32_t trie_bytes = LittleEndian32(bytes, 0);
  if (trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4)
    Fail(ErrorCode::kOutOfBounds, "declares a trie beyond its end");
  for (size_t at = 4; at < 4 + size_t{trie_bytes}; at += 4)
    units_.push_back(LittleEndian32(bytes, at));
  replacements_ = bytes.substr(4 + size_t{trie_bytes});
}

std::optional<PrecompiledCharsmap::Match> PrecompiledCharsmap::LongestKey(
    std::string_view text) const {
  std::optional<Match> longest;
  if (units_.empty()) return longest;
  size_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size() || Label(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= Offset(unit);
    if (!HasLeaf(unit) || node >= units_.size()) continue;
    const size_t at = LeafValue(units_[node]);
    const size_t end = replacements_.find('\0', at);
    if (at >= replacements_.size() || end == std::string::npos) continue;
    longest = Match{i + 1, std::string_view(replacements_).substr(at, end - at)};
  }
  return longest;
}

std::string PrecompiledCharsmap::Normalize(std::string_view text) const {
  std::string normalized;
  for (size_t at = 0; at < text.size();) {
    if (const auto match = LongestKey(text.substr(at))) {
      normalized += match->replacement;
      at += match->length;
      continue;
    }
    const size_t begin = at;
    NextCodePoint(text, at);
    normalized += text.substr(begin, at - begin);
  }
  return ReplaceInvalidUtf8(normalized);
}

}  // namespace quern::converters
