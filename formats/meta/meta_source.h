// Meta's original layout: a folder with params.json, tokenizer.model and consolidated.NN.pth.
//
// consolidated.00.pth, .01, ... are the parts of a model-parallel run: each has a piece of every
// tensor, or all of it. With one part, tensors have their own names; with more, part 1's are
// "consolidated.1/layers.0.attention.wq.weight". Joining the pieces takes knowledge of the
// architecture (converters/architectures/llama-meta.jsonc). config() is params.json. Mistral's
// first releases have this layout as well.
//
// Non-goals: which axis is split, what the names mean, tokenizers.
#ifndef QUERN_FORMATS_META_META_SOURCE_H_
#define QUERN_FORMATS_META_META_SOURCE_H_

#include <filesystem>
#include <string_view>

#include "formats/reader.h"
#include "formats/torch/torch_parts.h"

namespace quern::formats::meta {

// More parts than any release has (Llama 3.1 405B: 16).
inline constexpr size_t kMaxParts = 1024;

class MetaSource : public torch::TorchParts {
 public:
  // Throws, beside what the parts' reader and params.json's parser throw: kMissing (a part between
  // others), kBadType (params.json is no object), kLimitExceeded (parts).
  explicit MetaSource(const std::filesystem::path& path, const OpenOptions& options = {});

  std::string_view format() const override { return "meta"; }
};

// Takes folders that have no Hugging Face weights beside these files.
extern const FormatInfo kFormat;

}  // namespace quern::formats::meta

#endif  // QUERN_FORMATS_META_META_SOURCE_H_
