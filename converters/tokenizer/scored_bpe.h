// SentencePiece's BPE of a GGUF vocabulary ("llama"): text to token ids, merging the neighbours
// whose joint token has the best score.
//
// What llama.cpp does: the unit is a character by its first byte, malformed or not; characters that
// are no token are written byte by byte.
#ifndef QUERN_CONVERTERS_TOKENIZER_SCORED_BPE_H_
#define QUERN_CONVERTERS_TOKENIZER_SCORED_BPE_H_

#include <cstdint>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "converters/tokenizer/gguf_vocabulary.h"

namespace quern::converters {

class ScoredBpe {
 public:
  // `vocabulary` outlives this and is of kind kScored.
  explicit ScoredBpe(const GgufVocabulary& vocabulary);

  // Cuts `text`, in which spaces are U+2581, where no token could reach across: between two
  // characters that follow each other in no token. Tokenizing the pieces one by one then gives
  // what tokenizing the whole gives.
  std::vector<std::string_view> Cut(std::string_view text) const;

  // Appends the ids of one piece. Where the vocabulary has no tokens for bytes, the unknown token
  // stands for each (llama.cpp ends the program); throws kBadValue where there is not even that.
  void Tokenize(std::string_view piece, std::vector<TokenId>& ids) const;

 private:
  void AppendBytes(std::string_view character, std::vector<TokenId>& ids) const;

  const GgufVocabulary& vocabulary_;
  std::unordered_set<uint64_t> neighbours_;  // two characters, each as its bytes
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_SCORED_BPE_H_
