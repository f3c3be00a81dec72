#include "converters/conversion.h"

#include <utility>

#include "converters/architecture.h"
#include "converters/hyperparameters.h"
#include "converters/mapper.h"
#include "converters/naming.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

// GGML_QNT_VERSION: the version of the block formats, unchanged since 2023.
constexpr uint32_t kQuantizationVersion = 2;

OutputModel PassThrough(const ModelSource& source) {
  OutputModel model;
  model.metadata = source.metadata();
  const auto architecture = model.metadata.GetString("general.architecture");
  if (!architecture) {
    throw Error(ErrorCode::kMissing, {source.path().string(), {}, "general.architecture"},
                "the GGUF file does not say what architecture it is; it cannot be used by any "
                "program, so make it again from its source");
  }
  model.architecture = *architecture;
  for (const auto& tensor : source.tensors()) {
    model.tensors.push_back({tensor.name, Source(tensor), false});
  }
  return model;
}

std::string ConfigFile(const ModelSource& source) {
  const auto at = source.side_files().find("config.json");
  return at == source.side_files().end() ? source.path().string() : at->second.string();
}

// config(), completed where the format leaves out what architectures need.
Json CompleteConfig(const ModelSource& source, const ConvertOptions& options,
                    std::vector<std::string>& notes) {
  if (source.layout() == "ggml") {
    return GgmlConfig(source, options.ggml, options.vocab_only, notes);
  }
  if (options.ggml.given()) {
    throw Error(ErrorCode::kUsage, {source.path().string(), {}, {}},
                "--gqa, --eps and --context-length are for GGML files of before GGUF; other "
                "sources state these values themselves");
  }
  return source.config();
}

uint64_t VocabularySize(const Hyperparameters& hyperparameters) {
  return hyperparameters.Find("vocab_size") ? hyperparameters.Count("vocab_size") : 0;
}

}  // namespace

Conversion ConvertModel(const ModelSource& source, const ConvertOptions& options) {
  if (source.layout() == "gguf") return {PassThrough(source), std::nullopt};
  const std::string file = ConfigFile(source);
  const Architecture architecture =
      FindArchitecture(HfArchitecture(source.config(), file), options.architecture_files);
  const Hyperparameters hyperparameters(source.config(), architecture, file);

  OutputModel model;
  model.architecture = architecture.name;
  if (!options.vocab_only) {
    MappedTensors mapped = MapTensors(source, architecture, hyperparameters);
    model.tensors = std::move(mapped.tensors);
    model.auto_type = mapped.auto_type;
    model.notes = std::move(mapped.notes);
  }
  model.metadata.Set("general.architecture", architecture.name);
  AddGeneralMetadata(source, {options.model_name, options.metadata_file},
                     CountParameters(model.tensors), model.metadata);
  hyperparameters.AppendKeys(model.metadata);
  model.metadata.Set("general.quantization_version", kQuantizationVersion);
  return {std::move(model), TokenizerOptions{.kind = architecture.tokenizer,
                                             .pre = options.pre,
                                             .vocab_size = VocabularySize(hyperparameters)}};
}

}  // namespace quern::converters
