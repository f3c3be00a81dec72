// Text to token ids exactly as Hugging Face's tokenizers library does it for a tokenizer.json whose
// model is BPE: added tokens, normalizer, pre-tokenizer, merges, post-processor.
//
// Used to recognize the pre-tokenizer (pre_type.h) and by the reference inference. Non-goals:
// offsets, truncation, padding, pairs of sequences, Unigram, WordPiece, BPE dropout.
// Immutable and thread-safe.
#ifndef QUERN_CONVERTERS_TOKENIZER_HF_ENCODER_H_
#define QUERN_CONVERTERS_TOKENIZER_HF_ENCODER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/added_tokens.h"
#include "converters/tokenizer/bpe.h"
#include "converters/tokenizer/normalizer.h"
#include "converters/tokenizer/post_processor.h"
#include "converters/tokenizer/pre_tokenizer.h"
#include "converters/tokenizer/word_cache.h"
#include "formats/huggingface/tokenizer_json.h"

namespace quern::converters {

class HfEncoder {
 public:
  // Throws kUnsupported for a model that is no BPE and components that are not known, kBadType,
  // kBadValue and kBadText for damage.
  explicit HfEncoder(const formats::huggingface::TokenizerJson& tokenizer);

  // Malformed UTF-8 counts as U+FFFD. Throws kLimitExceeded where a regular expression of the
  // tokenizer backtracks without end.
  std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens = true) const;

 private:
  void EncodePiece(Word piece, WordCache<Bpe>& cache, std::vector<TokenId>& ids) const;

  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  SpecialFrame frame_;
  AddedTokens added_;
  Bpe bpe_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_HF_ENCODER_H_
