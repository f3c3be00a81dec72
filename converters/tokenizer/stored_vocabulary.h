// tokenizer.ggml.{tokens, scores, token_type, merges} as they are stored, for those who write them
// out again. (gguf_vocabulary.h is what llama.cpp makes of them.)
#ifndef QUERN_CONVERTERS_TOKENIZER_STORED_VOCABULARY_H_
#define QUERN_CONVERTERS_TOKENIZER_STORED_VOCABULARY_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/vocabulary.h"
#include "formats/core/metadata.h"

namespace quern::converters {

struct StoredVocabulary {
  std::vector<std::string> texts;
  std::vector<TokenType> types;     // as many as texts
  std::vector<float> scores;        // as many, or none
  std::vector<std::string> merges;  // "left right"

  // One more than the last token that is no padding as TokenList::Padding() makes it.
  size_t end = 0;
  bool IsPadding(size_t id) const;
};

// Throws kBadType, kBadValue (lists of different lengths, unknown token types), kBadText, and
// kDuplicate: no file of Hugging Face's can hold a token twice.
StoredVocabulary ReadStoredVocabulary(const Metadata& metadata);

// A special token: its id, and its text if there is one.
struct SpecialToken {
  std::string_view type;  // "bos"
  uint32_t id;
};
// Those of tokenizer.ggml.*_token_id that config.json can say.
std::vector<SpecialToken> StoredSpecialTokens(const Metadata& metadata);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_STORED_VOCABULARY_H_
