// A folder's tokenizer as the transformers library would load it (AutoTokenizer, fast classes).
//
// llama.cpp's converter sees a tokenizer through transformers, which amends tokenizer.json: special
// tokens that it does not list are added, a byte-level pre-tokenizer takes its add_prefix_space
// from tokenizer_config.json, some classes put their own bos and eos around the text; and a folder
// without a tokenizer.json is converted from vocab.json and merges.txt. The rules are those of
// transformers 4.x (PreTrainedTokenizerFast, convert_slow_tokenizer.py).
#ifndef QUERN_CONVERTERS_TOKENIZER_TRANSFORMERS_TOKENIZER_H_
#define QUERN_CONVERTERS_TOKENIZER_TRANSFORMERS_TOKENIZER_H_

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "converters/tokenizer/post_processor.h"
#include "converters/tokenizer/tokenizer_files.h"
#include "formats/huggingface/tokenizer_json.h"

namespace quern::converters {

struct TransformersTokenizer {
  formats::huggingface::TokenizerJson json;           // added tokens and prefix space as amended
  std::set<std::string, std::less<>> special_tokens;  // contents of bos_token, pad_token, ...
  // What may stand around an encoded text, likeliest first: transformers' versions differ.
  std::vector<SpecialFrame> frames;
};

// Throws kMissing where there is neither tokenizer.json nor vocab.json with merges.txt,
// kUnsupported for a class of slow tokenizer that is not known. Tokens that would get an id of
// `token_limit` or more (0: no limit) are left out, with a note.
TransformersTokenizer LoadTransformersTokenizer(const TokenizerFiles& files, uint64_t token_limit,
                                                std::vector<std::string>& notes);

// merges.txt: two parts per line, a comment in the first line, malformed lines passed over.
std::vector<std::pair<std::string, std::string>> ReadMergesFile(const std::filesystem::path& path);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TRANSFORMERS_TOKENIZER_H_
