// --vocab-from: the tokenizer of another model in place of the source's own.
#ifndef QUERN_CONVERTERS_TOKENIZER_VOCABULARY_SOURCE_H_
#define QUERN_CONVERTERS_TOKENIZER_VOCABULARY_SOURCE_H_

#include <filesystem>
#include <string>
#include <vector>

#include "converters/tokenizer/tokenizer_metadata.h"
#include "formats/core/metadata.h"

namespace quern::converters {

// Replaces all tokenizer.* keys of `metadata` by those of `path`: a folder with tokenizer files,
// one such file (tokenizer.model, tokenizer.json) by itself, or a GGUF or older GGML file.
// options.vocab_size, where it is known, is the number of tokens that the model has rows for;
// throws kMismatch where the vocabulary is of another size, and what AddTokenizerMetadata() and
// OpenModel() throw.
void TakeTokenizer(const std::filesystem::path& path, const TokenizerOptions& options,
                   Metadata& metadata, std::vector<std::string>& notes);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_VOCABULARY_SOURCE_H_
