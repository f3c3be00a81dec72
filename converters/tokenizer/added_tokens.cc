#include "converters/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "converters/tokenizer/unicode.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

// Start of the last code point of text[0, end), end > 0.
size_t PreviousStart(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

bool EndsWithWord(std::string_view text) {
  if (text.empty()) return false;
  size_t at = PreviousStart(text, text.size());
  return IsWordCharacter(NextCodePoint(text, at));
}

bool StartsWithWord(std::string_view text) {
  size_t at = 0;
  return !text.empty() && IsWordCharacter(NextCodePoint(text, at));
}

size_t SkipSpaceBefore(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const size_t previous = PreviousStart(text, begin);
    size_t at = previous;
    if (!IsWhitespace(NextCodePoint(text, at))) break;
    begin = previous;
  }
  return std::max(begin, limit);
}

size_t SkipSpaceAfter(std::string_view text, size_t end) {
  while (end < text.size()) {
    size_t at = end;
    if (!IsWhitespace(NextCodePoint(text, at))) break;
    end = at;
  }
  return end;
}

}  // namespace

void StringSet::Add(std::string_view text, size_t value) {
  if (text.empty()) return;
  uint32_t node = 0;
  for (const char c : text) {
    const auto [child, added] = nodes_[node].next.try_emplace(static_cast<unsigned char>(c),
                                                              static_cast<uint32_t>(nodes_.size()));
    node = child->second;
    if (added) nodes_.emplace_back();
  }
  if (nodes_[node].value == kNoValue) nodes_[node].value = value;
}

std::optional<StringSet::Match> StringSet::LongestAt(std::string_view text, size_t at) const {
  std::optional<Match> longest;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto next = nodes_[node].next.find(static_cast<unsigned char>(text[i]));
    if (next == nodes_[node].next.end()) break;
    node = next->second;
    if (nodes_[node].value != kNoValue) longest = Match{{at, i + 1}, nodes_[node].value};
  }
  return longest;
}

std::optional<StringSet::Match> StringSet::Find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size() && !empty(); ++at) {
    if (const auto match = LongestAt(text, at)) return match;
  }
  return std::nullopt;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i].normalized) {
      normal_.Add(normalizer.Normalize(tokens_[i].content), i);
    } else {
      raw_.Add(tokens_[i].content, i);
    }
  }
}

std::vector<AddedTokens::Piece> AddedTokens::Find(const StringSet& set,
                                                  std::string_view text) const {
  std::vector<Piece> pieces;
  size_t done = 0;
  size_t from = 0;
  while (const auto match = set.Find(text, from)) {
    auto [begin, end] = match->span;
    from = end;
    const AddedToken& token = tokens_[match->value];
    if (token.single_word &&
        (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end))))
      continue;
    if (token.lstrip) begin = SkipSpaceBefore(text, begin, done);
    if (token.rstrip) end = SkipSpaceAfter(text, end);
    if (begin > done) pieces.push_back({{done, begin}, std::nullopt});
    pieces.push_back({{begin, end}, token.id});
    done = end;
    from = std::max(from, done);
  }
  if (done < text.size()) pieces.push_back({{done, text.size()}, std::nullopt});
  return pieces;
}

}  // namespace quern::converters
