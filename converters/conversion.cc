#include "converters/conversion.h"

#include <fmt/format.h>

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
  OutputModel model = AsItIs(source);
  const auto architecture = model.metadata.GetString("general.architecture");
  if (!architecture) {
    throw Error(ErrorCode::kMissing, {source.path().string(), {}, "general.architecture"},
                "the GGUF file does not say what architecture it is; it cannot be used by any "
                "program, so make it again from its source");
  }
  model.architecture = *architecture;
  return model;
}

// What config() was read from, for errors.
std::string ConfigFile(const ModelSource& source) {
  for (const char* name : {"model_config.yaml", "lit_config.json", "params.json", "config.json"}) {
    const bool of_layout =
        (source.layout() == "huggingface") == (name == std::string("config.json"));
    const auto at = source.side_files().find(name);
    if (of_layout && at != source.side_files().end()) return at->second.string();
  }
  return source.path().string();
}

// The name under which architecture files accept the source: its layout's, but for Hugging Face's,
// which many architectures share.
std::string ArchitectureName(const ModelSource& source, const std::string& config_file) {
  if (source.layout() != "huggingface") return source.layout();
  return HfArchitecture(source.config(), config_file);
}

void RefuseGgmlOptions(const ModelSource& source, const ConvertOptions& options) {
  if (!options.ggml.given()) return;
  throw Error(
      ErrorCode::kUsage, {source.path().string(), {}, {}},
      "--gqa, --eps and --context-length are for GGML files of before GGUF; leave them out, "
      "other sources state these values themselves");
}

// config(), completed where the format leaves out what architectures need.
Json CompleteConfig(const ModelSource& source, const ConvertOptions& options,
                    std::vector<std::string>& notes) {
  if (source.layout() == "ggml") {
    return GgmlConfig(source, options.ggml, options.vocab_only, notes);
  }
  RefuseGgmlOptions(source, options);
  return source.config();
}

// The first of those that accept the source whose requirements the config meets.
Architecture ChooseArchitecture(const ModelSource& source, const ConvertOptions& options,
                                const std::string& file, const Json& config) {
  const auto accepting =
      FindArchitectures(ArchitectureName(source, file), options.architecture_files);
  std::vector<std::string> contradictions;
  for (const auto& architecture : accepting) {
    const Hyperparameters hyperparameters(config, architecture, file, &source);
    const auto unmet = hyperparameters.Unmet();
    if (!unmet) return architecture;
    contradictions.push_back(fmt::format("{} is not for {} = {}", architecture.file, *unmet,
                                         Printable(hyperparameters.Find(*unmet)->dump())));
  }
  throw Error(ErrorCode::kUnsupported, {file, {}, {}},
              fmt::format("no architecture file describes this model: {}; convert its Hugging Face "
                          "folder",
                          fmt::join(contradictions, "; ")));
}

uint64_t VocabularySize(const Hyperparameters& hyperparameters) {
  return hyperparameters.Find("vocab_size") ? hyperparameters.Count("vocab_size") : 0;
}

}  // namespace

OutputModel AsItIs(const ModelSource& source) {
  OutputModel model;
  model.metadata = source.metadata();
  model.architecture = model.metadata.GetString("general.architecture").value_or("");
  for (const auto& tensor : source.tensors()) {
    model.tensors.push_back({tensor.name, Source(tensor), false});
  }
  return model;
}

Conversion ConvertModel(const ModelSource& source, const ConvertOptions& options) {
  if (source.layout() == "gguf") {
    RefuseGgmlOptions(source, options);
    return {PassThrough(source), std::nullopt};
  }
  const std::string file = ConfigFile(source);
  OutputModel model;
  const Json config = CompleteConfig(source, options, model.notes);
  const Architecture architecture = ChooseArchitecture(source, options, file, config);
  const Hyperparameters hyperparameters(config, architecture, file, &source);
  hyperparameters.AppendNotes(model.notes);

  model.architecture = architecture.name;
  if (!options.vocab_only) {
    MappedTensors mapped = MapTensors(source, architecture, hyperparameters);
    model.tensors = std::move(mapped.tensors);
    // GGML files have GGUF's types; each tensor keeps its own, as in a GGUF.
    if (source.layout() != "ggml") model.auto_type = mapped.auto_type;
    for (auto& note : mapped.notes) model.notes.push_back(std::move(note));
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
