// Text to token ids, for evaluation.
#ifndef QUERN_VERIFY_REFERENCE_TEXT_TOKENIZER_H_
#define QUERN_VERIFY_REFERENCE_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "verify/reference/model.h"

namespace quern::verify {

class TextTokenizer {
 public:
  virtual ~TextTokenizer() = default;
  // Ids of valid UTF-8; `add_special` puts in front what the vocabulary asks for.
  virtual std::vector<int32_t> Encode(std::string_view text, bool add_special) const = 0;
};

// The model's own tokenizer: that of a folder's tokenizer.json. Throws kUnsupported where there is
// none, or one of another kind than BPE.
std::unique_ptr<TextTokenizer> MakeTextTokenizer(const ReferenceModel& model);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_TEXT_TOKENIZER_H_
