#include "formats/litgpt/litgpt_source.h"

#include <array>
#include <set>
#include <string>

#include "formats/core/error.h"
#include "formats/core/yaml.h"
#include "formats/huggingface/side_files.h"

namespace quern::formats::litgpt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "lit_model.pth";
// JSON is YAML, so one parser reads both.
constexpr std::array<const char*, 2> kConfigs = {"model_config.yaml", "lit_config.json"};

const char* ConfigName(const fs::path& folder) {
  const std::set<std::string> present = huggingface::ListFiles(folder);
  if (!present.contains(kWeights)) return nullptr;
  for (const char* name : kConfigs) {
    if (present.contains(name)) return name;
  }
  return nullptr;
}

bool Matches(const Probe& probe) { return probe.is_folder && ConfigName(probe.path) != nullptr; }

}  // namespace

LitgptSource::LitgptSource(const fs::path& path, const OpenOptions& options) : TorchParts(path) {
  layout_ = "litgpt";
  side_files_ = huggingface::FindSideFiles(path);
  const char* name = ConfigName(path);
  if (name == nullptr) {
    throw Error(ErrorCode::kMissing, {path.string(), {}, {}},
                "needs lit_model.pth and model_config.yaml; copy both into the folder");
  }
  const fs::path config = path / name;
  side_files_.emplace(name, config);
  config_ = ParseYaml(ReadTextFile(config, kMaxYamlBytes), config.string());
  if (!config_.is_object()) {
    throw Error(ErrorCode::kBadType, {config.string(), {}, {}},
                "is no mapping of names to values; copy litgpt's file again");
  }
  OpenParts({{path / kWeights, ""}}, options);
}

constinit const FormatInfo kFormat = {
    "litgpt", "a litgpt folder: lit_model.pth, model_config.yaml, tokenizer files", Matches,
    [](const fs::path& path, const OpenOptions& options) -> std::unique_ptr<ModelSource> {
      return std::make_unique<LitgptSource>(path, options);
    }};

}  // namespace quern::formats::litgpt
