// The "post_processor" of a tokenizer.json, for one sequence: the special tokens around it.
#ifndef QUERN_CONVERTERS_TOKENIZER_POST_PROCESSOR_H_
#define QUERN_CONVERTERS_TOKENIZER_POST_PROCESSOR_H_

#include <vector>

#include "converters/tokenizer/bpe.h"
#include "formats/core/json.h"

namespace quern::converters {

struct SpecialFrame {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
  bool operator==(const SpecialFrame&) const = default;
};

// `config` is the post-processor's JSON; null adds nothing. Throws kUnsupported for an unknown type
// or a template that uses the sequence twice or never, kBadType / kBadValue for damaged fields.
SpecialFrame FrameFromPostProcessor(const Json& config);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_POST_PROCESSOR_H_
