// What transformers' tokenizer classes bring along beside a folder's files, as data.
#ifndef QUERN_CONVERTERS_TOKENIZER_TOKENIZER_CLASSES_H_
#define QUERN_CONVERTERS_TOKENIZER_TOKENIZER_CLASSES_H_

#include <string_view>

namespace quern::converters {

struct TokenizerClassInfo {
  std::string_view name;         // without "Fast"
  std::string_view model_types;  // of config.json, separated by blanks: who uses it by default
  // Default special tokens as "type=token", separated by blanks.
  std::string_view special_tokens;
  // The class replaces the post-processor by bos and eos as add_bos_token and add_eos_token say,
  // with these defaults.
  bool frames = false;
  bool add_bos = false;
  // JSON of the steps around a BPE made of vocab.json and merges.txt; empty: there is no such
  // conversion.
  std::string_view normalizer;
  std::string_view pre_tokenizer;
};

// By name, ignoring a trailing "Fast"; null for an unknown class.
const TokenizerClassInfo* FindTokenizerClass(std::string_view name);
const TokenizerClassInfo* FindTokenizerClassOfModel(std::string_view model_type);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TOKENIZER_CLASSES_H_
