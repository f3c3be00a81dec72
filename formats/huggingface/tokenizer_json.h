// tokenizer.json: the file of Hugging Face's tokenizers library, as plain structs.
//
// Contract: the vocabulary is consistent (ids and texts unique, merges over known tokens, added
// tokens that do not contradict it). Its steps around the model (normalizer, pre-tokenizer,
// post-processor, decoder) are kept as JSON: what they mean is the converters' affair. Ids may have
// gaps: vocabularies with holes are in use, and padded by those who write them out. Non-goals:
// tokenizing, compiling patterns.
#ifndef QUERN_FORMATS_HUGGINGFACE_TOKENIZER_JSON_H_
#define QUERN_FORMATS_HUGGINGFACE_TOKENIZER_JSON_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/core/json.h"

namespace quern::formats::huggingface {

// Largest id that is accepted; the largest vocabularies in use have about 262,000 tokens. Bounds
// what a consumer that pads holes will allocate.
inline constexpr uint32_t kMaxTokenId = (uint32_t{1} << 22) - 1;

enum class TokenizerModelKind { kBpe, kUnigram, kWordPiece, kWordLevel };

struct VocabToken {
  uint32_t id = 0;
  std::string text;
  double score = 0;  // Unigram only
};

struct AddedToken {
  uint32_t id = 0;
  std::string content;
  bool special = false;
  bool normalized = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
};

struct TokenizerModel {
  TokenizerModelKind kind = TokenizerModelKind::kBpe;
  std::vector<VocabToken> vocab;                            // by id
  std::vector<std::pair<std::string, std::string>> merges;  // BPE, by rank
  std::optional<std::string> unk_token;                     // of a Unigram model: its text
  std::optional<uint32_t> unk_id;                           // of unk_token, where it is in vocab
  std::optional<std::string> continuing_subword_prefix;     // "##"
  std::optional<std::string> end_of_word_suffix;            // "</w>"
  bool byte_fallback = false;
  bool fuse_unk = false;
  bool ignore_merges = false;
};

struct TokenizerJson {
  TokenizerModel model;
  std::vector<AddedToken> added_tokens;                     // by id
  Json normalizer, pre_tokenizer, post_processor, decoder;  // null: none

  // One more than the highest id of model and added tokens; 0 for none.
  uint32_t id_end() const;
};

// Parses the text of a tokenizer.json; `file` is its name in errors. Errors: those of ParseJson;
// kMissing (a required field), kBadType (a field of the wrong JSON type), kUnsupported (an unknown
// model type), kBadValue (ids out of range, an id given to two tokens, a merge that names an
// unknown token or makes one, an added token that redefines an id or a token), kDuplicate (a token
// listed twice).
TokenizerJson ParseTokenizerJson(std::string_view text, std::string_view file);

TokenizerJson ReadTokenizerJson(const std::filesystem::path& path);

}  // namespace quern::formats::huggingface

#endif  // QUERN_FORMATS_HUGGINGFACE_TOKENIZER_JSON_H_
