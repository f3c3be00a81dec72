#include "verify/ollama_export.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>
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

bool IsThere(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::vector<fs::path> FilesOf(const fs::path& folder, const OllamaExport& plan) {
  std::vector<fs::path> files;
  for (const ExportedBlob& blob : plan.blobs) files.push_back(blob.path);
  for (const auto& [name, text] : plan.texts) files.push_back(folder / name);
  files.push_back(folder / "Modelfile");
  return files;
}

// Takes away what an export has made until it is dismissed.
class Undo {
 public:
  Undo() = default;
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  ~Undo() {
    std::error_code ignored;
    for (const fs::path& path : placed_) fs::remove(path, ignored);
    for (const fs::path& folder : folders_) fs::remove(folder, ignored);  // only if it is empty
  }

  // Throws kExists where one of the files is there and may not be replaced.
  void Expect(const std::vector<fs::path>& files, bool force) {
    for (const fs::path& file : files) {
      if (!IsThere(file)) continue;
      if (!force) {
        throw Error(ErrorCode::kExists, {file.string(), {}, {}},
                    "the output exists; choose another name or give --force");
      }
      before_.insert(file);
    }
  }

  void MakeFolders(const fs::path& folder) {
    for (fs::path at = fs::absolute(folder).lexically_normal(); !IsThere(at);
         at = at.parent_path()) {
      folders_.push_back(at);
    }
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
      throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                  "cannot make this folder: " + error.message());
    }
  }

  void AddPlaced(const fs::path& path) {
    if (!before_.contains(path)) placed_.push_back(path);
  }
  void Dismiss() {
    placed_.clear();
    folders_.clear();
  }

 private:
  std::set<fs::path> before_;  // replaced: they do not come back, and the new ones stay
  std::vector<fs::path> placed_;
  std::vector<fs::path> folders_;  // that were not there, the innermost first
};

}  // namespace

OllamaExport PlanOllamaExport(const StoredModel& model, const fs::path& folder) {
  return Planner(model, folder).Plan();
}

void RunOllamaExport(const fs::path& folder, const PlaceOptions& options, OllamaExport& plan) {
  Undo undo;
  undo.Expect(FilesOf(folder, plan), options.force);
  undo.MakeFolders(folder);
  for (ExportedBlob& blob : plan.blobs) {
    blob.placement = PlaceFile(blob.source, blob.path, blob.sha256, options);
    undo.AddPlaced(blob.path);
  }
  const auto write = [&](const fs::path& path, const std::string& text) {
    WriteText(path, text, options.force);
    undo.AddPlaced(path);
  };
  for (const auto& [name, text] : plan.texts) write(folder / name, text);
  write(folder / "Modelfile", plan.modelfile);
  undo.Dismiss();
}

}  // namespace quern::verify
