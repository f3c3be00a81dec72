// Text to token ids and back, from a GGUF's metadata or what a conversion would write there.
//
// Ids are those of llama.cpp's llama_tokenize with the same two flags, text is that of
// llama_detokenize. Kinds: "llama" (SentencePiece BPE), "gpt2" (byte-level BPE, every pre-tokenizer
// that llama.cpp knows, pre_rules.h) and "gemma4". Malformed UTF-8 is tokenized, never refused:
// byte by byte for "llama", as U+FFFD for the others. Non-goals: Unigram, WordPiece, RWKV, PLaMo.
// Immutable and thread-safe.
#ifndef QUERN_CONVERTERS_TOKENIZER_TEXT_TOKENIZER_H_
#define QUERN_CONVERTERS_TOKENIZER_TEXT_TOKENIZER_H_

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/bpe.h"
#include "formats/core/metadata.h"

namespace quern::converters {

struct EncodeOptions {
  bool add_special = true;     // begin and end tokens where the vocabulary wants them
  bool parse_special = false;  // control tokens in the text are those tokens, not text
};

class TextTokenizer {
 public:
  // `metadata` is not kept. Throws kUnsupported for another kind of tokenizer or an unknown
  // pre-tokenizer, kMissing, kBadType, kBadValue or kNonFinite for damaged keys.
  explicit TextTokenizer(const Metadata& metadata);
  ~TextTokenizer();
  TextTokenizer(TextTokenizer&&) noexcept;
  TextTokenizer& operator=(TextTokenizer&&) noexcept;

  // Throws kLimitExceeded for text whose splitting would take more than linear time by far.
  std::vector<TokenId> Encode(std::string_view text, EncodeOptions options = {}) const;

  // The text of one token; a byte token is one byte. Throws kOutOfBounds for an id that is none.
  std::string Piece(TokenId id) const;

  // The pieces joined; without the space that encoding put in front, and for some models without
  // those before punctuation. `with_special` writes control tokens.
  std::string Decode(std::span<const TokenId> ids, bool with_special = true) const;

  size_t size() const;  // tokens in the vocabulary
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  bool add_bos() const;
  bool add_eos() const;
  bool EndsGeneration(TokenId id) const;
  bool IsControl(TokenId id) const;

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TEXT_TOKENIZER_H_
