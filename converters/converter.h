// The door of the room: a source model to GGUF's terms.
#ifndef QUERN_CONVERTERS_CONVERTER_H_
#define QUERN_CONVERTERS_CONVERTER_H_

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "converters/legacy_ggml.h"
#include "converters/output_model.h"
#include "formats/core/model.h"

namespace quern::converters {

struct ConvertOptions {
  std::vector<std::filesystem::path>
      architecture_files;                              // --architecture, before the built-in ones
  std::string pre;                                     // --pre: tokenizer.ggml.pre by decree
  std::string model_name;                              // --model-name
  std::optional<std::filesystem::path> metadata_file;  // --metadata: JSON of general.* overrides
  bool vocab_only = false;                             // --vocab-only
  std::optional<std::filesystem::path> vocab_from;     // --vocab-from (vocabulary_source.h)
  GgmlOptions ggml;                                    // for files of before GGUF only
};

// Reads headers and side files of `source`, no tensor data. A GGUF source passes through as it is.
// Throws kUnsupported for an unknown architecture (naming the nearest known ones and how to add
// one) or tokenizer, kMissing / kUnexpected listing every tensor that the architecture needs and
// lacks or does not know, kBadValue for inconsistent hyperparameters, kUsage for options that the
// source has no use for.
OutputModel Convert(const ModelSource& source, const ConvertOptions& options);

// Keys and tensors of a GGUF source, whatever they mean: to be split or merged.
OutputModel AsItIs(const ModelSource& source);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_CONVERTER_H_
