// Small vocabularies as GGUF metadata has them.
#ifndef QUERN_TESTS_CONVERTERS_TOKENIZER_SMALL_VOCABULARY_TESTING_H_
#define QUERN_TESTS_CONVERTERS_TOKENIZER_SMALL_VOCABULARY_TESTING_H_

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/pre_tokenizer.h"
#include "converters/tokenizer/vocabulary.h"
#include "formats/core/metadata.h"

namespace quern::testing {

struct SmallToken {
  std::string text;
  converters::TokenType type = converters::TokenType::kNormal;
  float score = 0;
};

inline Metadata WithTokens(std::string model, const std::vector<SmallToken>& tokens) {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const SmallToken& token : tokens) {
    texts.push_back(token.text);
    scores.push_back(token.score);
    types.push_back(static_cast<int32_t>(token.type));
  }
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::move(model));
  metadata.Set("tokenizer.ggml.tokens", Array{texts});
  metadata.Set("tokenizer.ggml.scores", Array{scores});
  metadata.Set("tokenizer.ggml.token_type", Array{types});
  return metadata;
}

// SentencePiece: 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then `more`.
inline Metadata ScoredVocabulary(const std::vector<SmallToken>& more) {
  using converters::TokenType;
  std::vector<SmallToken> tokens = {
      {"<unk>", TokenType::kUnknown}, {"<s>", TokenType::kControl}, {"</s>", TokenType::kControl}};
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back({fmt::format("<0x{:02X}>", byte), TokenType::kByte});
  tokens.insert(tokens.end(), more.begin(), more.end());
  return WithTokens("llama", tokens);
}

// Byte-level BPE: 0 to 255 the bytes, then the result of each merge that is written "left right",
// then `more`.
inline Metadata RankedVocabulary(std::string pre, const std::vector<std::string>& merges,
                                 const std::vector<SmallToken>& more) {
  std::vector<SmallToken> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back({converters::BytesToCharacters(std::string(1, static_cast<char>(byte)))});
  }
  for (const std::string& merge : merges) {
    const size_t space = merge.find(' ');
    tokens.push_back({merge.substr(0, space) + merge.substr(space + 1)});
  }
  tokens.insert(tokens.end(), more.begin(), more.end());
  Metadata metadata = WithTokens("gpt2", tokens);
  metadata.Set("tokenizer.ggml.pre", std::move(pre));
  metadata.Set("tokenizer.ggml.merges", Array{merges});
  return metadata;
}

}  // namespace quern::testing

#endif  // QUERN_TESTS_CONVERTERS_TOKENIZER_SMALL_VOCABULARY_TESTING_H_
