// The tokenizer's side files of a source, read once.
#ifndef QUERN_CONVERTERS_TOKENIZER_TOKENIZER_FILES_H_
#define QUERN_CONVERTERS_TOKENIZER_TOKENIZER_FILES_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "formats/core/json.h"
#include "formats/core/model.h"
#include "formats/huggingface/tokenizer_json.h"

namespace quern::converters {

struct TokenizerFiles {
  const SideFiles* side = nullptr;  // of the source, which outlives this
  std::optional<formats::huggingface::TokenizerJson> tokenizer;  // tokenizer.json
  Json tokenizer_config;    // tokenizer_config.json; null where there is none
  Json special_tokens_map;  // special_tokens_map.json
  Json added_tokens;        // added_tokens.json
  Json config;              // config.json

  // Path of a side file, empty where there is none.
  std::filesystem::path Path(std::string_view name) const;
};

// Throws what ReadJsonFile throws, and kBadType where a file's top level is no object.
TokenizerFiles ReadTokenizerFiles(const ModelSource& source);

// Largest merges.txt or chat template that is read.
inline constexpr uint64_t kMaxTokenizerTextBytes = uint64_t{64} << 20;

// A token id of a config: absent where `value` is no integer (null, a list of ids).
std::optional<int64_t> IntegerId(const Json& value);

// The text of "bos_token" and its like: a string, or an object with "content".
std::optional<std::string> TokenContent(const Json& value);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TOKENIZER_FILES_H_
