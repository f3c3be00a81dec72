// tokenizer.ggml.* from the vocabulary inside a GGML file of before GGUF.
//
// The file has SentencePiece's tokens as text, without types: 0 is unknown, 1 and 2 begin and end a
// text, 3 to 258 are the bytes, spaces stand where SentencePiece has U+2581. (ggml-org/llama.cpp:
// convert_llama_ggml_to_gguf.py, Vocab)
#ifndef QUERN_CONVERTERS_TOKENIZER_GGML_VOCABULARY_H_
#define QUERN_CONVERTERS_TOKENIZER_GGML_VOCABULARY_H_

#include <string>
#include <vector>

#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::converters {

// Appends model, pre, tokens, scores, token_type and the three special ids. Throws kMissing where
// `source` has no vocabulary, kBadValue where it has fewer than three tokens.
void AddGgmlVocabulary(const ModelSource& source, Metadata& metadata,
                       std::vector<std::string>& notes);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_GGML_VOCABULARY_H_
