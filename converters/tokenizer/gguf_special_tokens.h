// Tokens that are found in text as they are, before anything else is done to it: control, unknown
// and user-defined tokens of a GGUF vocabulary.
//
// llama.cpp's order counts where tokens overlap: the longest token of the vocabulary first, all of
// its occurrences, then the next one in what is left. (Hugging Face's tokenizers: the leftmost
// occurrence first, added_tokens.h.)
#ifndef QUERN_CONVERTERS_TOKENIZER_GGUF_SPECIAL_TOKENS_H_
#define QUERN_CONVERTERS_TOKENIZER_GGUF_SPECIAL_TOKENS_H_

#include <bitset>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converters/tokenizer/gguf_vocabulary.h"

namespace quern::converters {

// A stretch of text, or a token that stood there.
struct TextPart {
  std::string_view text;
  std::optional<TokenId> id;
};

class GgufSpecialTokens {
 public:
  // `vocabulary` outlives this.
  explicit GgufSpecialTokens(const GgufVocabulary& vocabulary);

  // `parse_special`: control and unknown tokens too, not only user-defined ones. No part is empty.
  std::vector<TextPart> Find(std::string_view text, bool parse_special) const;

 private:
  // Those that are there at all, as positions in order_: most are not.
  std::vector<size_t> Present(std::string_view text) const;
  void Cut(TokenId id, std::vector<TextPart>& parts) const;

  const GgufVocabulary& vocabulary_;
  std::vector<TokenId> order_;  // longest first
  std::bitset<256> first_bytes_;
  // By the first two bytes (of one: the byte alone), positions in order_.
  std::unordered_map<std::string_view, std::vector<size_t>> by_begin_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_GGUF_SPECIAL_TOKENS_H_
