// GGUF to a Hugging Face folder: config.json, tokenizer files, safetensors.
//
// The result is a plan like any other (plan.h), for the executor to run: its files are shards of
// weights and, as files that are nothing but a header, the texts. So all of them appear together or
// none does. Before it is given away, the plan is read as if it were on disk and converted back, in
// headers: names, shapes and the architecture's keys must be the GGUF's, or the notes say what is
// not. Non-goals: models that no architecture file describes.
#ifndef QUERN_CONVERTERS_HUGGINGFACE_EXPORT_H_
#define QUERN_CONVERTERS_HUGGINGFACE_EXPORT_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "converters/output_model.h"
#include "converters/plan.h"
#include "formats/core/model.h"

namespace quern::converters {

inline constexpr uint64_t kDefaultShardBytes = 5'000'000'000;  // as transformers

struct HuggingFaceOptions {
  std::vector<std::filesystem::path> architecture_files;  // before the built-in ones
  // Of all weights. Absent: plain types as they are, quantized ones as F16, which holds every
  // format's values best.
  std::optional<TensorType> dtype;
  uint64_t shard_bytes = kDefaultShardBytes;
};

struct HuggingFaceExport {
  OutputModel model;  // what Execute() needs beside the plan
  WritePlan plan;     // names are set: the output is a folder
};

// Throws kUnsupported for an architecture that has no exports, what InvertTensors() throws, and
// kMismatch where converting back would give other tensors.
HuggingFaceExport PlanHuggingFaceExport(const ModelSource& gguf, const HuggingFaceOptions& options);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_HUGGINGFACE_EXPORT_H_
