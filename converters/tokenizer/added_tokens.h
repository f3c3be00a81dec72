// Tokens beside the model's vocabulary: found in the text before anything else is done to it.
//
// Tokens that are not `normalized` are looked for in the raw text, the others, normalized
// themselves, in normalized text. `lstrip` and `rstrip` take the white space beside the token with
// it; `single_word` tokens are not found inside a longer word. Leftmost first, longest of those.
// Follows AddedVocabulary of Hugging Face's tokenizers library.
#ifndef QUERN_CONVERTERS_TOKENIZER_ADDED_TOKENS_H_
#define QUERN_CONVERTERS_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converters/tokenizer/bpe.h"
#include "converters/tokenizer/normalizer.h"
#include "converters/tokenizer/regex.h"
#include "formats/huggingface/tokenizer_json.h"

namespace quern::converters {

using formats::huggingface::AddedToken;

// Finds any of a set of strings: leftmost, then longest. Memory is that of the strings: they come
// from untrusted files.
class StringSet {
 public:
  // Of equal strings the first one added counts.
  void Add(std::string_view text, size_t value);

  struct Match {
    TextSpan span;
    size_t value = 0;
  };
  // The first match that begins at `from` or later.
  std::optional<Match> Find(std::string_view text, size_t from) const;

 private:
  std::unordered_map<std::string, size_t> values_;
  // By first byte: the lengths of the strings that begin with it, longest first.
  std::array<std::set<size_t, std::greater<>>, 256> lengths_;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer);

  // A stretch of text: an added token, or none.
  struct Piece {
    TextSpan span;
    std::optional<TokenId> id;
  };
  std::vector<Piece> FindRaw(std::string_view text) const { return Find(raw_, text); }
  std::vector<Piece> FindNormalized(std::string_view text) const { return Find(normal_, text); }

 private:
  std::vector<Piece> Find(const StringSet& set, std::string_view text) const;

  std::vector<AddedToken> tokens_;
  StringSet raw_;
  StringSet normal_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_ADDED_TOKENS_H_
