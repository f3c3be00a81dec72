// The "normalizer" of a tokenizer.json: what happens to text before it is split into words.
//
// Follows Hugging Face's tokenizers library in what text comes out; offsets into the original are
// not kept. https://huggingface.co/docs/tokenizers/api/normalizers
#ifndef QUERN_CONVERTERS_TOKENIZER_NORMALIZER_H_
#define QUERN_CONVERTERS_TOKENIZER_NORMALIZER_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/json.h"

namespace quern::converters {

class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  // `config` is the normalizer's JSON; null changes nothing. Throws kUnsupported for a type that is
  // not known, kBadType / kBadText for damaged fields.
  explicit Normalizer(const Json& config);

  // `text` must be valid UTF-8, and so is the result.
  std::string Normalize(std::string text) const;

 private:
  std::vector<std::function<std::string(std::string)>> steps_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_NORMALIZER_H_
