#include "converters/tokenizer/text_tokenizer.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "converters/tokenizer/gguf_special_tokens.h"
#include "converters/tokenizer/gguf_vocabulary.h"
#include "converters/tokenizer/pre_splitter.h"
#include "converters/tokenizer/pre_tokenizer.h"
#include "converters/tokenizer/ranked_bpe.h"
#include "converters/tokenizer/scored_bpe.h"
#include "converters/tokenizer/word_cache.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    out.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return out.append(text);
}

// "<0x0A>" to its byte.
char ByteOf(std::string_view token) {
  unsigned value = 0;
  if (token.size() > 3) {
    const std::string_view digits = token.substr(3, 2);
    std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  }
  return static_cast<char>(value);
}

// One pass over `text`: drops the spaces for which `drop(rest)` holds, where `rest` is what follows
// the space.
template <typename Drop>
std::string WithoutSpaces(const std::string& text, const Drop& drop) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ' ' || !drop(std::string_view(text).substr(i + 1))) out += text[i];
  }
  return out;
}

// What Hugging Face calls clean_up_tokenization_spaces, as far as llama.cpp does it.
std::string CleanSpaces(std::string text) {
  text = WithoutSpaces(text, [](std::string_view rest) {
    return !rest.empty() && std::string_view("?!.,").find(rest[0]) != std::string_view::npos;
  });
  for (size_t at = text.find(" ' "); at != std::string::npos; at = text.find(" ' ", at + 1))
    text.replace(at, 3, "'");
  return WithoutSpaces(text, [](std::string_view rest) {
    return rest.starts_with("'s") || rest.starts_with("'m") || rest.starts_with("'re") ||
           rest.starts_with("'ve");
  });
}

}  // namespace

struct TextTokenizer::State {
  explicit State(const Metadata& metadata) : vocabulary(metadata), special(vocabulary) {
    if (vocabulary.kind == GgufVocabulary::Kind::kScored) {
      scored.emplace(vocabulary);
    } else {
      splitter.emplace(*vocabulary.pre);
      ranked.emplace(vocabulary, metadata);
    }
  }

  GgufVocabulary vocabulary;
  GgufSpecialTokens special;
  std::optional<ScoredBpe> scored;
  std::optional<PreSplitter> splitter;
  std::optional<RankedBpe> ranked;

  void EncodeScored(const std::vector<TextPart>& parts, std::vector<TokenId>& ids) const;
  void EncodeRanked(const std::vector<TextPart>& parts, std::vector<TokenId>& ids) const;
  const GgufToken& Token(TokenId id) const;
};

void TextTokenizer::State::EncodeScored(const std::vector<TextPart>& parts,
                                        std::vector<TokenId>& ids) const {
  WordCache<ScoredBpe> cache(*scored);
  bool after_special = true;
  for (const TextPart& part : parts) {
    if (part.id) {
      ids.push_back(*part.id);
    } else {
      std::string text = ReplaceAll(part.text, " ", kSpaceMark);
      if (vocabulary.add_space_prefix && after_special) text.insert(0, kSpaceMark);
      for (const std::string_view piece : scored->Cut(text)) cache.Tokenize(piece, ids);
    }
    after_special = part.id.has_value();
  }
}

void TextTokenizer::State::EncodeRanked(const std::vector<TextPart>& parts,
                                        std::vector<TokenId>& ids) const {
  WordCache<RankedBpe> cache(*ranked);
  for (const TextPart& part : parts) {
    if (part.id) {
      ids.push_back(*part.id);
      continue;
    }
    const std::vector<char32_t> characters = DecodeLenientUtf8(
        vocabulary.pre->escape_spaces ? ReplaceAll(part.text, " ", kSpaceMark) : part.text);
    size_t at = 0;
    std::string word;
    for (const size_t length : splitter->Split(characters)) {
      word.clear();
      for (size_t i = 0; i < length; ++i) AppendUtf8(characters[at++], word);
      cache.Tokenize(word, ids);
    }
  }
}

const GgufToken& TextTokenizer::State::Token(TokenId id) const {
  if (id < vocabulary.tokens.size()) return vocabulary.tokens[id];
  throw Error(ErrorCode::kOutOfBounds, {.subject = fmt::format("token id {}", id)},
              fmt::format("the vocabulary has {} tokens; use ids of this model's own tokenizer",
                          vocabulary.tokens.size()));
}

TextTokenizer::TextTokenizer(const Metadata& metadata)
    : state_(std::make_unique<const State>(metadata)) {}
TextTokenizer::~TextTokenizer() = default;
TextTokenizer::TextTokenizer(TextTokenizer&&) noexcept = default;
TextTokenizer& TextTokenizer::operator=(TextTokenizer&&) noexcept = default;

std::vector<TokenId> TextTokenizer::Encode(std::string_view text, EncodeOptions options) const {
  const GgufVocabulary& vocabulary = state_->vocabulary;
  std::vector<TokenId> ids;
  if (options.add_special && vocabulary.add_bos) ids.push_back(*vocabulary.bos);
  const std::vector<TextPart> parts = state_->special.Find(text, options.parse_special);
  if (vocabulary.kind == GgufVocabulary::Kind::kScored) {
    state_->EncodeScored(parts, ids);
  } else {
    state_->EncodeRanked(parts, ids);
  }
  if (options.add_special && vocabulary.add_eos) ids.push_back(*vocabulary.eos);
  return ids;
}

std::string TextTokenizer::Piece(TokenId id) const {
  const GgufToken& token = state_->Token(id);
  if (token.unknown || token.control || token.user_defined) return token.text;
  if (token.byte) return std::string(1, ByteOf(token.text));
  if (!token.normal) return "";
  const PreRule* pre = state_->vocabulary.pre;
  if (pre == nullptr || pre->escape_spaces) return ReplaceAll(token.text, kSpaceMark, " ");
  return CharactersToBytes(token.text);
}

std::string TextTokenizer::Decode(std::span<const TokenId> ids, bool with_special) const {
  const GgufVocabulary& vocabulary = state_->vocabulary;
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    const GgufToken& token = state_->Token(ids[i]);
    if (!with_special && (token.unknown || token.control)) continue;
    std::string piece = Piece(ids[i]);
    if (i == 0 && vocabulary.add_space_prefix && piece.starts_with(' ')) piece.erase(0, 1);
    text += piece;
  }
  const bool keep = vocabulary.pre == nullptr || vocabulary.pre->keep_spaces;
  return keep ? text : CleanSpaces(std::move(text));
}

size_t TextTokenizer::size() const { return state_->vocabulary.tokens.size(); }
std::optional<TokenId> TextTokenizer::bos() const { return state_->vocabulary.bos; }
std::optional<TokenId> TextTokenizer::eos() const { return state_->vocabulary.eos; }
bool TextTokenizer::add_bos() const { return state_->vocabulary.add_bos; }
bool TextTokenizer::add_eos() const { return state_->vocabulary.add_eos; }

bool TextTokenizer::EndsGeneration(TokenId id) const {
  return state_->vocabulary.end_of_generation.contains(id);
}

bool TextTokenizer::IsControl(TokenId id) const { return state_->Token(id).control; }

}  // namespace quern::converters
