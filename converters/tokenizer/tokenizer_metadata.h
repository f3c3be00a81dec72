// tokenizer.ggml.* and tokenizer.chat_template from a source's tokenizer files.
#ifndef QUERN_CONVERTERS_TOKENIZER_TOKENIZER_METADATA_H_
#define QUERN_CONVERTERS_TOKENIZER_TOKENIZER_METADATA_H_

#include <cstdint>
#include <string>
#include <vector>

#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::converters {

struct TokenizerOptions {
  // From the architecture's data file:
  //   "auto"          as llama.cpp's LlamaModel: tokenizer.model if there is one, else a
  //                   SentencePiece-like BPE in tokenizer.json, else byte-level BPE
  //   "gpt2"          byte-level BPE
  //   "sentencepiece" tokenizer.model only
  //   "meta"          without Hugging Face's files: tokenizer.model, of SentencePiece or (Llama 3)
  //                   tiktoken, or llama2.c's tokenizer.bin; special tokens are Llama's
  //   "sentencepiece_or_gpt2"  tokenizer.model if there is one, else byte-level BPE (Qwen2)
  //   "ggml"          the vocabulary inside a GGML file (ggml_vocabulary.h)
  std::string kind = "auto";
  std::string pre;          // tokenizer.ggml.pre by decree; empty: found
  uint64_t vocab_size = 0;  // rows of the embedding; holes are padded up to it
};

// Appends the keys in llama.cpp's order. Throws kMissing (no tokenizer files, saying which are
// looked for), kUnsupported (a kind or pre-tokenizer that is not recognized: what was found, and
// that --pre decides), kBadValue and kBadText for damaged files. Notes go to `notes`.
void AddTokenizerMetadata(const ModelSource& source, const TokenizerOptions& options,
                          Metadata& metadata, std::vector<std::string>& notes);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TOKENIZER_METADATA_H_
