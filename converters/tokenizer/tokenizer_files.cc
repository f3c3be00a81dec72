#include "converters/tokenizer/tokenizer_files.h"

#include <limits>

#include "converters/tokenizer/json_fields.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

Json ReadObject(const SideFiles& side, std::string_view name) {
  const auto file = side.find(name);
  if (file == side.end()) return nullptr;
  Json json = ReadJsonFile(file->second);
  if (!json.is_object()) {
    throw Error(ErrorCode::kBadType, {.file = file->second.string()},
                "the top level must be an object; the file is damaged");
  }
  return json;
}

}  // namespace

std::filesystem::path TokenizerFiles::Path(std::string_view name) const {
  const auto file = side->find(name);
  return file == side->end() ? std::filesystem::path() : file->second;
}

TokenizerFiles ReadTokenizerFiles(const ModelSource& source) {
  TokenizerFiles files;
  files.side = &source.side_files();
  if (const auto path = files.Path("tokenizer.json"); !path.empty())
    files.tokenizer = formats::huggingface::ReadTokenizerJson(path);
  files.tokenizer_config = ReadObject(*files.side, "tokenizer_config.json");
  files.special_tokens_map = ReadObject(*files.side, "special_tokens_map.json");
  files.added_tokens = ReadObject(*files.side, "added_tokens.json");
  files.config = source.config();
  if (source.layout() != "huggingface") {
    // Other layouts keep the Hugging Face files that they were made from, if any; their own config
    // knows no token ids.
    files.config = ReadObject(*files.side, "config.json");
    if (files.config.is_null()) files.config = ReadObject(*files.side, "generation_config.json");
  }
  return files;
}

std::optional<int64_t> IntegerId(const Json& value) {
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return std::numeric_limits<int64_t>::max();
  if (!value.is_number_integer()) return std::nullopt;
  return value.get<int64_t>();
}

std::optional<std::string> TokenContent(const Json& value) {
  const Json& content = value.is_object() ? Member(value, "content") : value;
  if (!content.is_string()) return std::nullopt;
  return content.get<std::string>();
}

}  // namespace quern::converters
