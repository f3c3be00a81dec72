#include "verify/ollama_export.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <span>

#include "formats/core/error.h"
#include "formats/core/output_file.h"
#include "formats/gguf/gguf_header.h"
#include "formats/gguf/gguf_split.h"
#include "formats/ollama/modelfile.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using formats::ollama::Instruction;
using formats::ollama::Layer;
using formats::ollama::StoredModel;

// Layers that are files, the end of the file's name, and the instruction that names it.
struct FileKind {
  std::string_view kind, suffix, instruction;
};
constexpr FileKind kFiles[] = {{"model", "", "from"},
                               {"projector", "-mmproj", "from"},
                               {"adapter", "-adapter", "adapter"},
                               {"draft", "-draft", "draft"}};
// Layers that are texts, in the order in which a Modelfile has them. Kind and instruction are one.
constexpr std::string_view kTexts[] = {"template", "system", "license"};
// What Ollama keeps in the config.
constexpr std::string_view kConfigTexts[] = {"renderer", "parser", "requires"};

std::string StemOf(const StoredModel& model) {
  const fs::path path = model.path();  // .../MODEL/TAG
  return fmt::format("{}-{}", path.parent_path().filename().string(), path.filename().string());
}

// A file that is no whole GGUF keeps its bytes, under another ending.
std::optional<formats::gguf::SplitKeys> SplitOf(const fs::path& blob, bool& is_gguf) {
  const File file = File::Open(blob);
  ByteReader reader(file);
  is_gguf = file.size() >= 4 && reader.ReadString(4, "magic") == "GGUF";
  if (!is_gguf) return {};
  ByteReader whole(file);
  return formats::gguf::ReadSplitKeys(formats::gguf::ParseHeader(whole).metadata, blob.string());
}

std::string FileName(const std::string& stem, const fs::path& blob) {
  bool is_gguf = false;
  const auto split = SplitOf(blob, is_gguf);
  if (split) return formats::gguf::MakeShardName({stem, split->no + 1, split->count});
  return stem + (is_gguf ? ".gguf" : ".bin");
}

class Planner {
 public:
  Planner(const StoredModel& model, const fs::path& folder) : model_(model), folder_(folder) {}

  OllamaExport Plan() {
    if (!model_.LayersOf("tensor").empty()) {
      throw Error(ErrorCode::kUnsupported, {model_.path().string(), {}, {}},
                  "the weights of this model are tensor layers, which no Modelfile names; "
                  "`quern convert` makes a GGUF of them");
    }
    for (const FileKind& file : kFiles) AddFiles(file);
    for (const std::string_view kind : kTexts) {
      for (const Layer& layer : model_.LayersOf(kind)) {
        Add({std::string(kind), "", model_.TextOf(layer)});
      }
    }
    for (const Layer& layer : model_.LayersOf("params")) {
      for (const auto& instruction : formats::ollama::ParameterInstructions(JsonOf(layer))) {
        Add(instruction);
      }
    }
    for (const Layer& layer : model_.LayersOf("messages")) {
      for (const auto& instruction : formats::ollama::MessageInstructions(JsonOf(layer))) {
        Add(instruction);
      }
    }
    AddConfig();
    return std::move(plan_);
  }

 private:
  Json JsonOf(const Layer& layer) const {
    return ParseJson(model_.TextOf(layer), model_.BlobOf(layer).string());
  }

  void AddFiles(const FileKind& kind) {
    const std::vector<Layer> layers = model_.LayersOf(kind.kind);
    for (size_t i = 0; i < layers.size(); ++i) {
      const fs::path blob = model_.BlobOf(layers[i]);
      std::string stem = StemOf(model_) + std::string(kind.suffix);
      std::string name = FileName(stem, blob);
      if (names_.contains(name)) name = FileName(fmt::format("{}-{}", stem, i + 1), blob);
      names_.emplace(name, blob);
      plan_.blobs.push_back({std::string(kind.kind), blob, folder_ / name, layers[i].digest,
                             layers[i].size, Placement::kCopy});
      Add({std::string(kind.instruction), "", "./" + name});
    }
  }

  void AddConfig() {
    const Json config = JsonOf(model_.manifest().config);
    if (!config.is_object()) return;
    for (const std::string_view key : kConfigTexts) {
      const Json value = config.value(std::string(key), Json());
      if (value.is_string()) Add({std::string(key), "", value.get<std::string>()});
    }
  }

  void Add(const Instruction& instruction) {
    if (const auto line = formats::ollama::InstructionText(instruction)) {
      plan_.modelfile += *line;
      return;
    }
    const size_t number = plan_.texts.size() + 1;
    const std::string name = fmt::format("{}-{}.txt", instruction.name, number);
    plan_.modelfile +=
        fmt::format("# A Modelfile cannot say the {} of this model; its text is in {}\n",
                    instruction.name, name);
    plan_.texts.emplace_back(name, instruction.text);
  }

  const StoredModel& model_;
  const fs::path& folder_;
  std::map<std::string, fs::path> names_;
  OllamaExport plan_;
};

void WriteText(const fs::path& path, const std::string& text, bool force) {
  OutputFile file(path, text.size(), {.force = force});
  file.WriteAt(0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  file.Commit();
}

}  // namespace

OllamaExport PlanOllamaExport(const StoredModel& model, const fs::path& folder) {
  return Planner(model, folder).Plan();
}

void RunOllamaExport(const fs::path& folder, const PlaceOptions& options, OllamaExport& plan) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                "cannot make this folder: " + error.message());
  }
  for (ExportedBlob& blob : plan.blobs) {
    blob.placement = PlaceFile(blob.source, blob.path, blob.sha256, options);
  }
  for (const auto& [name, text] : plan.texts) WriteText(folder / name, text, options.force);
  WriteText(folder / "Modelfile", plan.modelfile, options.force);
}

}  // namespace quern::verify
