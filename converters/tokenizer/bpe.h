// The "BPE" model of a tokenizer.json: words to token ids by merging neighbours, best rank first.
//
// Gives the ids that Hugging Face's tokenizers library gives (without dropout), which includes its
// order of tie-breaking: lowest rank, then leftmost. O(n log n) in the length of a word, because
// tokenizers without a pre-tokenizer pass whole texts as one word.
#ifndef QUERN_CONVERTERS_TOKENIZER_BPE_H_
#define QUERN_CONVERTERS_TOKENIZER_BPE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "converters/tokenizer/merge_queue.h"
#include "formats/huggingface/tokenizer_json.h"

namespace quern::converters {

using TokenId = uint32_t;
using Vocabulary = std::unordered_map<std::string, TokenId>;

class Bpe {
 public:
  // `model` is of kind kBpe and as ParseTokenizerJson validates it; merges that it does not know
  // are kBadValue.
  explicit Bpe(const formats::huggingface::TokenizerModel& model);

  // Appends the ids of one word. Characters that are in no token and have no unknown token to stand
  // for them are dropped, as the original does.
  void Tokenize(std::string_view word, std::vector<TokenId>& ids) const;

  std::optional<TokenId> IdOf(const std::string& token) const;

 private:
  using Merge = PossibleMerge<uint32_t, TokenId>;  // order: rank

  void AddMerge(const std::pair<std::string, std::string>& merge, uint32_t rank);
  std::optional<Merge> FindMerge(TokenId left, TokenId right) const;
  std::vector<TokenId> Characters(std::string_view word) const;
  bool AppendBytes(std::string_view character, std::vector<TokenId>& ids) const;

  Vocabulary vocabulary_;
  std::unordered_map<uint64_t, Merge> merges_;  // key: left id << 32 | right id
  std::string continuing_subword_prefix_;
  std::string end_of_word_suffix_;
  std::optional<TokenId> unk_;
  bool byte_fallback_ = false;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;  // a word that is a token is taken whole
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_BPE_H_
