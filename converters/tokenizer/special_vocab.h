// Ids of special tokens, which of them to add around a text, merges and chat templates: what
// gguf-py's SpecialVocab (gguf-py/gguf/vocab.py, August 2026) finds in a Hugging Face folder and
// writes.
//
// Order is part of the contract: ids in the order in which they are found (tokenizer_config.json
// resolved through tokenizer.json's added tokens, then config.json), flags likewise.
#ifndef QUERN_CONVERTERS_TOKENIZER_SPECIAL_VOCAB_H_
#define QUERN_CONVERTERS_TOKENIZER_SPECIAL_VOCAB_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "converters/tokenizer/tokenizer_files.h"
#include "formats/core/metadata.h"

namespace quern::converters {

class SpecialVocab {
 public:
  struct Request {
    std::vector<std::string> types = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"};
    uint64_t token_count = 0;       // ids must be below
    bool skip_out_of_range = true;  // with a note; else kBadValue
  };
  // Throws kBadValue for an id that is not in the vocabulary (see Request).
  SpecialVocab(const TokenizerFiles& files, Request request, std::vector<std::string>& notes);

  // Sets an id unless the type has one already.
  void SetId(const std::string& type, int64_t id);

  void SetFlag(const std::string& type, bool add);

  // Merges as they go into GGUF ("left right", spaces inside parts as U+0120); empty: no key.
  void SetMerges(std::vector<std::string> merges) { merges_ = std::move(merges); }

  // Writes merges, ids, flags, chat templates, normalizer: in this order. A type or flag for which
  // GGUF has no key in llama.cpp's writer is left out.
  void AppendTo(Metadata& metadata) const;

 private:
  struct Tokens;  // contents of tokenizer_config.json's "bos_token" and its like, as amended

  void LoadPostProcessor(const Json& post_processor, Tokens& tokens);
  void LoadTemplate(const Json& processor, Tokens& tokens);
  void LoadPair(const Json& pair, const std::string& first, const std::string& last,
                Tokens& tokens);
  void LoadTokenizerConfig(const TokenizerFiles& files, const Tokens& tokens);
  void LoadConfig(const Json& config);

  Request request_;
  std::vector<std::string>& notes_;
  std::vector<std::string> merges_;
  std::vector<std::pair<std::string, uint32_t>> ids_;
  std::vector<std::pair<std::string, bool>> flags_;
  Json chat_template_;
  bool lowercase_ = false;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_SPECIAL_VOCAB_H_
