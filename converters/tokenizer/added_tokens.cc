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
  values_.try_emplace(std::string(text), value);
  lengths_[static_cast<unsigned char>(text[0])].insert(text.size());
}

std::optional<StringSet::Match> StringSet::Find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    for (const size_t length : lengths_[static_cast<unsigned char>(text[at])]) {
      if (length > text.size() - at) continue;
      const auto found = values_.find(std::string(text.substr(at, length)));
      if (found != values_.end()) return Match{{at, at + length}, found->second};
    }
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
