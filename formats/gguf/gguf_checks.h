// Checks of GGUF metadata that consumers rely on without looking: the tokenizer's arrays and ids.
#ifndef QUERN_FORMATS_GGUF_GGUF_CHECKS_H_
#define QUERN_FORMATS_GGUF_GGUF_CHECKS_H_

#include <string>

#include "formats/core/metadata.h"

namespace quern::formats::gguf {

// The tokenizer.ggml.* keys that are there must be usable: tokens and merges are arrays of strings,
// scores of f32, token_type of i32 or u32 (kBadType otherwise); scores and token_type have one item
// per token (kMismatch; kMissing where there are no tokens); every *_token_id is an integer
// (kBadType) below the number of tokens (kBadValue). padding_token_id may be -1, in any width:
// Llama's own configuration says so for "none". `path` stands for the file in errors.
void CheckTokenizer(const Metadata& metadata, const std::string& path);

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_CHECKS_H_
