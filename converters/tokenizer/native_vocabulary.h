// Tokenizers without Hugging Face's files beside them: tiktoken's ranks, llama2.c's tokenizer.bin.
#ifndef QUERN_CONVERTERS_TOKENIZER_NATIVE_VOCABULARY_H_
#define QUERN_CONVERTERS_TOKENIZER_NATIVE_VOCABULARY_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "converters/tokenizer/vocabulary.h"

namespace quern::converters {

// Whether a tokenizer.model is tiktoken's text and no SentencePiece model.
bool IsTiktokenFile(const std::filesystem::path& path);

struct TiktokenVocabulary {
  TokenList tokens;
  std::vector<std::string> merges;  // "left right", as Hugging Face's tokenizer.json has them
  std::optional<uint32_t> begin, end, pad;  // absent where the model has no special tokens
};

// `size`: rows of the embedding, 0 for as many as there are tokens. What the file lacks of them
// must be Llama 3's 256 special tokens (`names_of_31`: with the names of release 3.1 and later) or
// nothing. Throws what ParseTiktoken throws, kMismatch (another number of rows).
TiktokenVocabulary ReadLlama3Vocabulary(const std::filesystem::path& path, uint64_t size,
                                        bool names_of_31);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_NATIVE_VOCABULARY_H_
