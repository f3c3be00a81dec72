// The way back: Hugging Face's tokenizer files from tokenizer.ggml.* and tokenizer.chat_template.
//
// Byte-level BPE becomes a tokenizer.json whose pre-tokenizer is that of the family, SentencePiece
// a tokenizer.model; tokenizer_config.json has what else both need, config.json the ids. Read back,
// they give the same keys; what they do not is noted. Other kinds of tokenizers are not written,
// with a note.
#ifndef QUERN_CONVERTERS_TOKENIZER_TOKENIZER_EXPORT_H_
#define QUERN_CONVERTERS_TOKENIZER_TOKENIZER_EXPORT_H_

#include <string>
#include <vector>

#include "formats/core/json.h"
#include "formats/core/metadata.h"

namespace quern::converters {

struct SideFile {
  std::string name;
  std::string content;
};

// Adds the special tokens' ids to `config`. Throws kBadType, kBadValue, kDuplicate for vocabularies
// that contradict themselves.
std::vector<SideFile> ExportTokenizer(const Metadata& metadata, Json& config,
                                      std::vector<std::string>& notes);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TOKENIZER_EXPORT_H_
