#include "formats/huggingface/side_files.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "formats/core/error.h"
#include "formats/lfs/lfs_pointer.h"

namespace quern::formats::huggingface {
namespace {

namespace fs = std::filesystem;

// Names that Hugging Face's own libraries, and the first publishers of some tokenizers, write.
constexpr std::array<std::string_view, 33> kNames = {
    "README.md",
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "modules.json",
    "params.json",
    "preprocessor_config.json",
    "processor_config.json",
    "quantization_config.json",
    "quantize_config.json",
    "qwen.tiktoken",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "target.spm",
    "tekken.json",
    "tiktoken.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.model.v1",
    "tokenizer.model.v2",
    "tokenizer.model.v3",
    "tokenizer.model.v7",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
    "vocab.txt",
};
constexpr std::string_view kTemplates = "chat_templates";

}  // namespace

std::set<std::string> ListFiles(const fs::path& folder) {
  std::set<std::string> names;
  std::error_code error;
  fs::directory_iterator at(folder.empty() ? fs::path(".") : folder, error);
  while (!error && at != fs::directory_iterator()) {
    std::error_code ignored;
    if (!at->is_directory(ignored)) names.insert(at->path().filename().string());
    at.increment(error);
  }
  if (error) {
    throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                "cannot list the folder: " + error.message());
  }
  return names;
}

bool IsSideFile(std::string_view name) {
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

SideFiles FindSideFiles(const fs::path& folder) {
  SideFiles found;
  const std::set<std::string> present = ListFiles(folder);
  for (const std::string_view name : kNames) {
    if (present.contains(std::string(name))) found.emplace(name, lfs::Resolve(folder / name));
  }
  const fs::path templates = folder / kTemplates;
  std::error_code ignored;
  if (!fs::is_directory(templates, ignored)) return found;
  for (const std::string& name : ListFiles(templates)) {
    if (!name.ends_with(".jinja")) continue;
    found.emplace(std::string(kTemplates) + "/" + name, lfs::Resolve(templates / name));
  }
  return found;
}

Json ReadConfig(const SideFiles& side_files) {
  const auto at = side_files.find("config.json");
  if (at == side_files.end()) return nullptr;
  Json config = ReadJsonFile(at->second);
  if (!config.is_object()) {
    throw Error(ErrorCode::kBadType, {at->second.string(), {}, {}},
                "is no JSON object; download it again");
  }
  return config;
}

}  // namespace quern::formats::huggingface
