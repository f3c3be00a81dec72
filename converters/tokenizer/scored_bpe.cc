#include "converters/tokenizer/scored_bpe.h"

#include <fmt/format.h>

#include <algorithm>

#include "converters/tokenizer/merge_queue.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

// Bytes of the character at text[at] by its first byte, as far as there are so many.
size_t CharacterLength(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return std::min(length, text.size() - at);
}

uint32_t PackBytes(std::string_view character) {
  uint32_t packed = 0;
  for (const char byte : character) packed = packed << 8 | static_cast<unsigned char>(byte);
  return packed;
}

struct Stretch {
  size_t begin;
  size_t size;
  bool operator==(const Stretch&) const = default;
};

}  // namespace

ScoredBpe::ScoredBpe(const GgufVocabulary& vocabulary) : vocabulary_(vocabulary) {
  for (const GgufToken& token : vocabulary.tokens) {
    const std::string_view text = token.text;
    uint32_t previous = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t length = CharacterLength(text, at);
      const uint32_t character = PackBytes(text.substr(at, length));
      if (at > 0) neighbours_.insert(uint64_t{previous} << 32 | character);
      previous = character;
      at += length;
    }
  }
}

std::vector<std::string_view> ScoredBpe::Cut(std::string_view text) const {
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  uint32_t previous = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterLength(text, at);
    const uint32_t character = PackBytes(text.substr(at, length));
    if (at > begin && !neighbours_.contains(uint64_t{previous} << 32 | character)) {
      pieces.push_back(text.substr(begin, at - begin));
      begin = at;
    }
    previous = character;
    at += length;
  }
  if (begin < text.size()) pieces.push_back(text.substr(begin));
  return pieces;
}

void ScoredBpe::AppendBytes(std::string_view character, std::vector<TokenId>& ids) const {
  for (size_t i = 0; i < character.size(); ++i) {
    auto id = vocabulary_.Find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(character[i])));
    if (!id) id = vocabulary_.Find(character.substr(i, 1));
    if (!id) id = vocabulary_.unk;
    if (!id) {
      throw Error(ErrorCode::kBadValue, {.subject = "tokenizer.ggml.tokens"},
                  "has no tokens for bytes and no unknown token; the text has characters that "
                  "this vocabulary cannot express");
    }
    ids.push_back(*id);
  }
}

void ScoredBpe::Tokenize(std::string_view piece, std::vector<TokenId>& ids) const {
  std::vector<Stretch> symbols;
  for (size_t at = 0; at < piece.size();) {
    const size_t length = CharacterLength(piece, at);
    symbols.push_back({at, length});
    at += length;
  }
  using Possible = PossibleMerge<float, Stretch>;  // order: the score's negative
  MergeBest<float>(symbols,
                   [&](const Stretch& left, const Stretch& right) -> std::optional<Possible> {
                     const Stretch both = {left.begin, left.size + right.size};
                     const auto id = vocabulary_.Find(piece.substr(both.begin, both.size));
                     if (!id) return std::nullopt;
                     return Possible{-vocabulary_.tokens[*id].score, both};
                   });
  for (const Stretch& symbol : symbols) {
    const std::string_view text = piece.substr(symbol.begin, symbol.size);
    if (const auto id = vocabulary_.Find(text)) {
      ids.push_back(*id);
    } else {
      AppendBytes(text, ids);
    }
  }
}

}  // namespace quern::converters
