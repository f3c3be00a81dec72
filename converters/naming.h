// general.* keys and default file names, by llama.cpp's rules.
#ifndef QUERN_CONVERTERS_NAMING_H_
#define QUERN_CONVERTERS_NAMING_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::converters {

struct NamingOptions {
  std::string model_name;                              // --model-name
  std::optional<std::filesystem::path> metadata_file;  // --metadata
};

// Counts as llama.cpp's converter makes them for the size label (gguf-py:
// get_total_parameter_count).
struct ParameterCounts {
  uint64_t total = 0;
  uint64_t shared = 0;  // outside experts
  uint64_t expert = 0;  // of one expert, all layers
  uint64_t expert_count = 0;
  bool adapter = false;
};

// Appends general.type, [general.sampling.*], general.name, author, version, organization,
// finetune, basename, description, quantized_by, size_label, license..., base_model.*, dataset.*,
// tags, languages: in llama.cpp's order, from (in order of priority) the options, the model card's
// front matter (README.md), config.json and the folder's name. The caller has put
// general.architecture before them.
void AddGeneralMetadata(const ModelSource& source, const NamingOptions& options,
                        const ParameterCounts& counts, Metadata& metadata);

// "4x18M", "135M", "1.5B": at least two significant digits.
std::string SizeLabel(const ParameterCounts& counts);

// Base-SizeLabel-FineTune-Version-ENCODING.gguf from the general.* keys; `encoding` is a file
// type's name ("Q4_K_M"), `fallback` a stem for metadata that names nothing.
std::string DefaultFileName(const Metadata& metadata, std::string_view encoding,
                            std::string_view fallback);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_NAMING_H_
