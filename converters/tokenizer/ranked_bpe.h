// BPE of a GGUF vocabulary with merges ("gpt2", "gemma4"): words to token ids.
//
// What llama.cpp does, which differs from Hugging Face's tokenizers (bpe.h) in the details: merges
// are looked up by text, also those whose result is no token; of equal merges the first counts;
// text that ends in no token is written byte by byte, and bytes without a token are dropped.
#ifndef QUERN_CONVERTERS_TOKENIZER_RANKED_BPE_H_
#define QUERN_CONVERTERS_TOKENIZER_RANKED_BPE_H_

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converters/tokenizer/gguf_vocabulary.h"
#include "converters/tokenizer/merge_queue.h"
#include "formats/core/metadata.h"

namespace quern::converters {

class RankedBpe {
 public:
  // `vocabulary` outlives this and is of kind kRanked. Throws kMissing or kBadType where
  // tokenizer.ggml.merges is not there or no array of strings.
  RankedBpe(const GgufVocabulary& vocabulary, const Metadata& metadata);

  // Appends the ids of one word of text.
  void Tokenize(std::string_view word, std::vector<TokenId>& ids) const;

 private:
  // A stretch of a word. `id` beyond the vocabulary: no token, but part of one.
  struct Symbol {
    TokenId id;
    size_t begin;
    size_t end;
    bool operator==(const Symbol&) const = default;
  };
  using Merge = PossibleMerge<uint32_t, TokenId>;  // order: rank

  TokenId Intern(std::string_view text);
  TokenId Lookup(std::string_view text) const;  // kNoSymbol where it is unknown
  std::vector<Symbol> Characters(std::string_view word) const;
  void AppendBytes(std::string_view text, std::vector<TokenId>& ids) const;

  const GgufVocabulary& vocabulary_;
  TokenIndex parts_;                            // texts in merges that are no tokens
  std::unordered_map<uint64_t, Merge> merges_;  // key: left << 32 | right
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_RANKED_BPE_H_
