// litgpt's checkpoint folder: lit_model.pth, model_config.yaml, and tokenizer files beside them.
//
// config() is model_config.yaml as JSON (lit_config.json in folders of before 2024). litgpt keeps
// the Hugging Face config.json that it converted from; it is a side file here. Non-goals: what
// names and values mean (converters/architectures/llama-litgpt.jsonc).
#ifndef QUERN_FORMATS_LITGPT_LITGPT_SOURCE_H_
#define QUERN_FORMATS_LITGPT_LITGPT_SOURCE_H_

#include <filesystem>
#include <string_view>

#include "formats/reader.h"
#include "formats/torch/torch_parts.h"

namespace quern::formats::litgpt {

class LitgptSource : public torch::TorchParts {
 public:
  // Throws what the weights' reader and ParseYaml throw, and kBadType where the config is no
  // mapping.
  explicit LitgptSource(const std::filesystem::path& path, const OpenOptions& options = {});

  std::string_view format() const override { return "litgpt"; }
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::litgpt

#endif  // QUERN_FORMATS_LITGPT_LITGPT_SOURCE_H_
