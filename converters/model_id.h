// What a model's repository name says: "org/Base-7B-Chat-v0.1" taken apart by llama.cpp's rules
// (gguf-py: metadata.py, Metadata.get_model_id_components; facts, not code).
#ifndef QUERN_CONVERTERS_MODEL_ID_H_
#define QUERN_CONVERTERS_MODEL_ID_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quern::converters {

struct ModelIdParts {
  std::optional<std::string> name, organization, basename, finetune, version, size_label;
  bool operator==(const ModelIdParts&) const = default;
};

// `parameters` decides whether "8K" or "7B" can be the model's size or means something else (a
// context length); 0: unknown, negative: of an adapter.
ModelIdParts SplitModelId(std::string_view id, int64_t parameters = 0);

// "Mixtral-8x7B-Instruct-v0.1" -> "Mixtral 8x7B Instruct v0.1": words in lower case get a capital,
// unless they start with a digit or are a version.
std::string IdToTitle(std::string_view id);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_MODEL_ID_H_
