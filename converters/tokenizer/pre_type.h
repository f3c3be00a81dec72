// Which pre-tokenizer of llama.cpp fits a tokenizer: the value of tokenizer.ggml.pre.
#ifndef QUERN_CONVERTERS_TOKENIZER_PRE_TYPE_H_
#define QUERN_CONVERTERS_TOKENIZER_PRE_TYPE_H_

#include <string>
#include <vector>

#include "converters/tokenizer/transformers_tokenizer.h"

namespace quern::converters {

// First as llama.cpp does it, by the hash of the encoded check text (pre_hashes.h). Where the hash
// is unknown (a vocabulary that was trained anew), by the form of normalizer and pre-tokenizer,
// which must equal that of a known family, with a note. Throws kUnsupported otherwise: hash, form,
// and that --pre decides.
std::string FindPreType(const TransformersTokenizer& tokenizer, std::vector<std::string>& notes);

// The form in one line: "NFC | Split(Isolated, \p{N}), ByteLevel(prefix=0, regex=0)".
std::string DescribeSteps(const formats::huggingface::TokenizerJson& tokenizer);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PRE_TYPE_H_
