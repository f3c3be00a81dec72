#include "formats/meta/tiktoken.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "formats/core/error.h"

namespace quern::formats::meta {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> kDigits = [] {
  std::array<int8_t, 256> digits{};
  digits.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  return digits;
}();

// Padded base64 (RFC 4648) without line breaks.
std::optional<std::string> DecodeBase64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
    bits &= (1u << count) - 1;
  }
  if (bits != 0) return std::nullopt;
  return bytes;
}

struct Line {
  std::string token;
  uint64_t rank;
};

std::optional<Line> ParseLine(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == line.npos) return std::nullopt;
  auto token = DecodeBase64(line.substr(0, space));
  uint64_t rank = 0;
  const std::string_view digits = line.substr(space + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
  if (!token || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return Line{std::move(*token), rank};
}

void CheckBytes(const std::unordered_set<std::string_view>& tokens, std::string_view file) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (tokens.contains(std::string_view(&c, 1))) continue;
    throw Error(ErrorCode::kBadValue, {std::string(file), {}, fmt::format("byte {}", byte)},
                "is no token, so that not every text could be written; the file is damaged");
  }
}

}  // namespace

bool LooksLikeTiktoken(std::string_view head) {
  return ParseLine(head.substr(0, head.find('\n'))).has_value();
}

std::vector<std::string> ParseTiktoken(std::string_view text, std::string_view file) {
  std::vector<std::string> tokens;
  size_t at = 0;
  const auto fail = [&](ErrorCode code, std::string_view message) {
    return Error(code, {std::string(file), at, fmt::format("line {}", tokens.size() + 1)}, message);
  };
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    auto line = ParseLine(text.substr(at, end - at));
    if (!line) {
      throw fail(ErrorCode::kBadText,
                 "is no base64 token with a rank; download the tokenizer again");
    }
    if (line->rank != tokens.size()) {
      throw fail(ErrorCode::kBadValue,
                 fmt::format("has rank {} instead of {}; download the tokenizer again", line->rank,
                             tokens.size()));
    }
    if (line->token.size() > kMaxTiktokenTokenBytes || tokens.size() >= kMaxTiktokenTokens) {
      throw fail(ErrorCode::kLimitExceeded,
                 fmt::format("more than {} bytes in a token, or {} tokens; is this a tokenizer?",
                             kMaxTiktokenTokenBytes, kMaxTiktokenTokens));
    }
    tokens.push_back(std::move(line->token));
    at = end + 1;
  }
  std::unordered_set<std::string_view> distinct;
  for (const std::string& token : tokens) {
    if (distinct.insert(token).second) continue;
    throw Error(ErrorCode::kDuplicate,
                {std::string(file), {}, fmt::format("line {}", distinct.size() + 1)},
                "is a token that came before; download the tokenizer again");
  }
  CheckBytes(distinct, file);
  return tokens;
}

std::vector<TiktokenMerge> TiktokenMerges(const std::vector<std::string>& tokens) {
  std::unordered_map<std::string_view, uint32_t> ranks;
  for (size_t i = 0; i < tokens.size(); ++i) ranks.emplace(tokens[i], static_cast<uint32_t>(i));
  std::vector<TiktokenMerge> merges;
  for (const std::string_view token : tokens) {
    const size_t first = merges.size();
    for (size_t split = 1; split < token.size(); ++split) {
      const auto left = ranks.find(token.substr(0, split));
      if (left == ranks.end()) continue;
      const auto right = ranks.find(token.substr(split));
      if (right != ranks.end()) merges.push_back({left->second, right->second});
    }
    std::sort(merges.begin() + static_cast<ptrdiff_t>(first), merges.end(),
              [](const TiktokenMerge& a, const TiktokenMerge& b) {
                return std::tie(a.left, a.right) < std::tie(b.left, b.right);
              });
  }
  return merges;
}

}  // namespace quern::formats::meta
