// The "pre_tokenizer" of a tokenizer.json: how normalized text is cut into the words that the model
// then tokenizes one by one.
//
// Follows Hugging Face's tokenizers library.
// https://huggingface.co/docs/tokenizers/api/pre-tokenizers
#ifndef QUERN_CONVERTERS_TOKENIZER_PRE_TOKENIZER_H_
#define QUERN_CONVERTERS_TOKENIZER_PRE_TOKENIZER_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/json.h"

namespace quern::converters {

struct Word {
  std::string text;
  bool at_start = false;  // begins where the whole text begins
};

class PreTokenizer {
 public:
  PreTokenizer() = default;  // one word
  // `config` is the pre-tokenizer's JSON; null gives one word. Throws kUnsupported for a type that
  // is not known, kBadType / kBadText for damaged fields.
  explicit PreTokenizer(const Json& config);

  std::vector<Word> Split(Word text) const;

 private:
  std::vector<std::function<std::vector<Word>(std::vector<Word>)>> steps_;
};

// Byte-level BPE writes each byte as one printable character: a table of 256 code points
// (GPT-2's bytes_to_unicode). Maps every byte of `text`.
std::string BytesToCharacters(std::string_view text);

// The reverse; characters outside of the table leave the text as it is.
std::string CharactersToBytes(std::string_view text);

// What the GPT-2 tokenizer splits by; the ByteLevel pre-tokenizer uses it unless use_regex is off.
extern const std::string_view kGpt2Pattern;

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PRE_TOKENIZER_H_
