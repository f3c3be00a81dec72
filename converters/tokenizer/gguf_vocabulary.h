// The vocabulary that GGUF metadata describes, as llama.cpp understands it.
//
// Reads tokenizer.ggml.{model, pre, tokens, scores, token_type, *_token_id, add_*}. What llama.cpp
// adds by itself is added here: default ids, control tokens recognized by their text, white space
// beside tokens of certain models. (ggml-org/llama.cpp: src/llama-vocab.cpp, August 2026)
// Of two equal tokens the later one is found (llama.cpp ends the program at such a vocabulary).
#ifndef QUERN_CONVERTERS_TOKENIZER_GGUF_VOCABULARY_H_
#define QUERN_CONVERTERS_TOKENIZER_GGUF_VOCABULARY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "converters/tokenizer/bpe.h"
#include "converters/tokenizer/pre_rules.h"
#include "formats/core/metadata.h"

namespace quern::converters {

struct GgufToken {
  std::string text;
  float score = 0;
  // As tokenizer.ggml.token_type says; a token can be control beside being something else.
  bool normal = false;
  bool unknown = false;
  bool control = false;
  bool user_defined = false;
  bool byte = false;
  // White space that is taken away before or after the token.
  bool strip_left = false;
  bool strip_right = false;
};

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using TokenIndex = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

class GgufVocabulary {
 public:
  enum class Kind : uint8_t {
    kScored,  // "llama": SentencePiece's BPE, merged by score
    kRanked,  // "gpt2", "gemma4": merged by rank
  };

  // Throws kUnsupported for a model or pre-tokenizer that is not known, kMissing, kBadType and
  // kBadValue for keys that are absent or damaged.
  explicit GgufVocabulary(const Metadata& metadata);

  Kind kind = Kind::kScored;
  const PreRule* pre = nullptr;  // kRanked only
  std::vector<GgufToken> tokens;
  std::optional<TokenId> bos, eos, unk;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;
  std::unordered_set<TokenId> end_of_generation;

  std::optional<TokenId> Find(std::string_view text) const;

 private:
  void ReadTokens(const Metadata& metadata);
  void ReadIds(const Metadata& metadata);
  void ReadFlags(const Metadata& metadata);
  void MarkControlTokens(const Metadata& metadata);
  void MarkEndOfGeneration(const Metadata& metadata);
  void MarkStripping(const Metadata& metadata);

  TokenIndex ids_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_GGUF_VOCABULARY_H_
