// The token lists of GGUF from each kind of tokenizer.
#ifndef QUERN_CONVERTERS_TOKENIZER_VOCABULARY_H_
#define QUERN_CONVERTERS_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "converters/tokenizer/tokenizer_files.h"
#include "converters/tokenizer/transformers_tokenizer.h"
#include "formats/core/metadata.h"
#include "formats/huggingface/sentencepiece.h"

namespace quern::converters {

// Values of tokenizer.ggml.token_type (llama.h, enum llama_token_type).
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown,
  kControl,
  kUserDefined,
  kUnused,
  kByte,
};

struct TokenList {
  std::vector<std::string> texts;
  std::vector<float> scores;  // empty: the model has none
  std::vector<int32_t> types;

  // `size` unused tokens "[PAD0]", "[PAD1]", ...
  static TokenList Padding(uint64_t size);
  void Put(uint64_t id, std::string text, TokenType type);
  // tokenizer.ggml.tokens, [scores], token_type.
  void AppendTo(Metadata& metadata) const;
};

// Added tokens that ought to be control tokens and are not marked special.
bool LooksSpecial(std::string_view token);

// tokenizer.model, then added_tokens.json, then tokenizer_config.json's added_tokens_decoder, the
// later ones over the earlier ones. `size` 0: as many as there are pieces. Tokens beyond `size` are
// left out with a note.
TokenList SentencePieceTokens(const TokenizerFiles& files, uint64_t size,
                              std::vector<std::string>& notes);

// The pieces alone, as SentencePieceTokens begins with them.
TokenList PieceTokens(const std::vector<formats::huggingface::Piece>& pieces, uint64_t size,
                      std::vector<std::string>& notes);

// Byte-level BPE. `size` 0: up to the highest id. Throws kBadValue for a token beyond `size`.
TokenList ByteLevelTokens(const TransformersTokenizer& tokenizer, uint64_t size);

// SentencePiece's BPE in a tokenizer.json (byte fallback): all scores are -1000. Throws kBadValue
// for a hole in the base vocabulary.
TokenList ByteFallbackTokens(const TransformersTokenizer& tokenizer, uint64_t size);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_VOCABULARY_H_
