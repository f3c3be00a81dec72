// Ids of the words seen so far in one text: natural language repeats itself.
#ifndef QUERN_CONVERTERS_TOKENIZER_WORD_CACHE_H_
#define QUERN_CONVERTERS_TOKENIZER_WORD_CACHE_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "converters/tokenizer/bpe.h"

namespace quern::converters {

// `Model` has Tokenize(std::string_view, std::vector<TokenId>&), which appends, and outlives this.
template <typename Model>
class WordCache {
 public:
  explicit WordCache(const Model& model) : model_(model) {}

  void Tokenize(std::string_view word, std::vector<TokenId>& ids) {
    if (word.size() > kMaxWordBytes) return model_.Tokenize(word, ids);
    auto known = words_.find(word);
    if (known == words_.end()) {
      if (words_.size() >= kMaxWords) return model_.Tokenize(word, ids);
      known = words_.try_emplace(std::string(word)).first;
      model_.Tokenize(word, known->second);
    }
    ids.insert(ids.end(), known->second.begin(), known->second.end());
  }

 private:
  static constexpr size_t kMaxWordBytes = 64;
  static constexpr size_t kMaxWords = 100'000;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  const Model& model_;
  std::unordered_map<std::string, std::vector<TokenId>, Hash, std::equal_to<>> words_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_WORD_CACHE_H_
