#include "verify/ollama_import.h"

#include <fmt/format.h>

#include "formats/core/byte_reader.h"
#include "formats/core/error.h"
#include "formats/core/output_file.h"
#include "formats/gguf/gguf_header.h"
#include "formats/ollama/manifest.h"
#include "formats/ollama/manifest_writer.h"
#include "quant/recipe.h"
#include "verify/sha256.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
namespace ollama = formats::ollama;

constexpr uint32_t kGuessed = 1024;  // bit of general.file_type where it was guessed

std::string MediaType(std::string_view kind) {
  return std::string(ollama::kLayerTypePrefix) + std::string(kind);
}

ImportedLayer FileLayer(std::string_view kind, const fs::path& path) {
  std::error_code error;
  const fs::path source = fs::canonical(path, error);  // what a link leads to is linked, not it
  if (error) throw Error(ErrorCode::kIo, {path.string(), {}, {}}, error.message());
  return {.media_type = MediaType(kind),
          .sha256 = HashFile(source),
          .bytes = File::Open(source).size(),
          .source = source};
}

ImportedLayer TextLayer(std::string media_type, std::string text) {
  Sha256 hash;
  hash.Update({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return {.media_type = std::move(media_type),
          .sha256 = hash.HexDigest(),
          .bytes = text.size(),
          .text = std::move(text)};
}

Metadata HeaderOf(const fs::path& gguf) {
  const File file = File::Open(gguf);
  ByteReader reader(file);
  return formats::gguf::ParseHeader(reader).metadata;
}

bool IsProjector(const Metadata& metadata) {
  const auto type = metadata.GetString("general.type");
  return metadata.GetString("general.architecture") == "clip" || type == "mmproj" ||
         type == "projector";
}

ollama::Layer ToLayer(const ImportedLayer& layer) {
  return {.media_type = layer.media_type, .digest = layer.sha256, .size = layer.bytes};
}

class Planner {
 public:
  Planner(const ImportSource& source, const fs::path& store, const ollama::ModelName& name)
      : source_(source), model_(*source.model) {
    std::error_code error;
    plan_.store = fs::weakly_canonical(store, error);
    if (error) throw Error(ErrorCode::kIo, {store.string(), {}, {}}, error.message());
    plan_.manifest_path = plan_.store / "manifests" / name.ManifestPath();
    const fs::path newer = plan_.store / "manifests-v2" / name.ManifestPath();
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(newer, ignored))) {
      throw Error(ErrorCode::kUnsupported, {newer.string(), {}, {}},
                  "Ollama finds this manifest first, so that it would not see the import; choose "
                  "another name");
    }
  }

  OllamaImport Plan() {
    AddWeights();
    AddNamedFiles();
    AddTexts();
    ollama::Manifest manifest;
    for (const ImportedLayer& layer : plan_.layers) manifest.layers.push_back(ToLayer(layer));
    plan_.config =
        TextLayer(std::string(ollama::kConfigType), ollama::ConfigText(Config(), manifest.layers));
    manifest.config = ToLayer(plan_.config);
    plan_.manifest = ollama::ManifestText(manifest);
    return std::move(plan_);
  }

 private:
  void AddWeights() {
    const Where where{model_.path().string(), {}, {}};
    if (model_.layout() != "gguf" || model_.format() == "llamafile") {
      throw Error(ErrorCode::kUnsupported, where,
                  "import takes a GGUF file; `quern convert` makes one of other sources, and unzip "
                  "takes one out of a llamafile");
    }
    if (model_.files().size() != 1) {
      throw Error(ErrorCode::kUnsupported, where,
                  "Ollama loads one file and this model is split; `quern merge` makes it one");
    }
    const auto architecture = model_.metadata().GetString("general.architecture");
    if (!architecture) {
      throw Error(ErrorCode::kMissing, {where.file, {}, "general.architecture"},
                  "the file does not say what it is; it is no model that Ollama runs");
    }
    families_.push_back(std::string(*architecture));
    plan_.layers.push_back(FileLayer("model", model_.files().front().path()));
  }

  // Projectors of FROM lines, then adapters.
  void AddNamedFiles() {
    const fs::path weights = model_.files().front().path();
    bool may_be_weights = true;  // the first FROM that names no file stands for the weights
    for (const std::string& text : source_.modelfile.TextsOf("from")) {
      const fs::path path = source_.folder / text;
      std::error_code ignored;
      if (!fs::is_regular_file(path, ignored)) {
        if (!may_be_weights) throw MissingFile(path);
        may_be_weights = false;
        continue;
      }
      if (fs::equivalent(path, weights, ignored)) {
        may_be_weights = false;
        continue;
      }
      AddProjector(path);
    }
    for (const std::string& text : source_.modelfile.TextsOf("adapter")) {
      const fs::path path = source_.folder / text;
      std::error_code ignored;
      if (!fs::is_regular_file(path, ignored)) throw MissingFile(path);
      HeaderOf(path);
      plan_.layers.push_back(FileLayer("adapter", path));
    }
    if (!source_.modelfile.TextsOf("draft").empty()) {
      throw Error(ErrorCode::kUnsupported, {{}, {}, "DRAFT"},
                  "draft models are not imported; leave this line out");
    }
  }

  void AddProjector(const fs::path& path) {
    const Metadata metadata = HeaderOf(path);
    if (!IsProjector(metadata)) {
      throw Error(ErrorCode::kUsage, {path.string(), {}, "FROM"},
                  "the Modelfile names another model than the one to import; name that one");
    }
    if (const auto architecture = metadata.GetString("general.architecture")) {
      families_.push_back(std::string(*architecture));
    }
    plan_.layers.push_back(FileLayer("projector", path));
  }

  Error MissingFile(const fs::path& path) const {
    return Error(ErrorCode::kMissing, {path.string(), {}, {}},
                 "the Modelfile names this file and there is none; put it there");
  }

  void AddTexts() {
    const ollama::Modelfile& modelfile = source_.modelfile;
    const auto add = [&](std::string_view kind, std::string text) {
      if (!text.empty()) plan_.layers.push_back(TextLayer(MediaType(kind), std::move(text)));
    };
    add("template", modelfile.LastOf("template"));
    add("system", modelfile.LastOf("system"));
    for (std::string& license : modelfile.TextsOf("license")) add("license", std::move(license));
    add("params", ollama::ParametersJson(modelfile, "Modelfile"));
    add("messages", ollama::MessagesJson(modelfile));
  }

  ollama::Config Config() const {
    uint64_t parameters = 0;
    for (const TensorInfo& tensor : model_.tensors()) {
      uint64_t elements = 1;
      for (const uint64_t size : tensor.shape) elements *= size;
      parameters += elements;
    }
    const ollama::Modelfile& modelfile = source_.modelfile;
    return {.families = families_,
            .model_type = ollama::HumanCount(parameters),
            .file_type = FileTypeName(),
            .renderer = modelfile.LastOf("renderer"),
            .parser = modelfile.LastOf("parser"),
            .min_version = modelfile.LastOf("requires")};
  }

  std::string FileTypeName() const {
    const auto id = model_.metadata().GetInteger("general.file_type");
    if (!id || *id < 0) return "unknown";
    const auto* type = quant::FindFileType(std::to_string(*id & ~int64_t{kGuessed}));
    return type ? std::string(type->name) : "unknown";
  }

  const ImportSource& source_;
  const ModelSource& model_;
  OllamaImport plan_;
  std::vector<std::string> families_;
};

void MakeFolder(const fs::path& folder, const fs::path& store) {
  std::error_code error;
  const fs::path inside = fs::weakly_canonical(folder, error).lexically_relative(store);
  if (inside.empty() || *inside.begin() == "..") {
    throw Error(ErrorCode::kUnsafe, {folder.string(), {}, {}},
                "this folder is a link that leads out of the store; nothing is written there");
  }
  fs::create_directories(folder, error);
  if (error) {
    throw Error(ErrorCode::kIo, {folder.string(), {}, {}},
                "cannot make this folder: " + error.message());
  }
}

void WriteText(const fs::path& path, const std::string& text, bool force) {
  OutputFile file(path, text.size(), {.force = force});
  file.WriteAt(0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  file.Commit();
}

// Whether the blob is the source under another name.
bool IsLinked(const ImportedLayer& layer, const fs::path& blob) {
  std::error_code ignored;
  return !layer.source.empty() && layer.source != blob &&
         fs::equivalent(layer.source, blob, ignored);
}

// Whether the blob is there, right, and with `options.copy` a file of its own.
bool HasBlob(const ImportedLayer& layer, const fs::path& blob, const PlaceOptions& options) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(blob, ignored))) return false;
  if (IsLinked(layer, blob)) return !options.copy;
  if (HashFile(blob) == layer.sha256) return true;
  if (options.force) return false;
  throw Error(ErrorCode::kMismatch, {blob.string(), {}, {}},
              "the store has a damaged blob of this name; --force replaces it");
}

// Ollama's server often is another user: a file that only its owner may read is copied.
bool IsReadableByAll(const fs::path& path) {
  std::error_code ignored;
  return (fs::status(path, ignored).permissions() & fs::perms::others_read) != fs::perms::none;
}

void WriteBlob(const fs::path& store, const PlaceOptions& options, ImportedLayer& layer) {
  const fs::path blob = store / "blobs" / ("sha256-" + layer.sha256);
  const bool copy = options.copy || (!layer.source.empty() && !IsReadableByAll(layer.source));
  if (HasBlob(layer, blob, {.copy = copy, .force = options.force})) return;
  if (layer.source.empty()) {
    WriteText(blob, layer.text, options.force);
    layer.placement = Placement::kCopy;
    return;
  }
  // A link that is there already has the right content: the copy takes its place.
  const bool force = options.force || IsLinked(layer, blob);
  layer.placement = PlaceFile(layer.source, blob, layer.sha256, {.copy = copy, .force = force});
}

}  // namespace

OllamaImport PlanOllamaImport(const ImportSource& source, const fs::path& store,
                              const ollama::ModelName& name) {
  return Planner(source, store, name).Plan();
}

void RunOllamaImport(const PlaceOptions& options, OllamaImport& plan) {
  std::error_code ignored;
  const bool taken = fs::exists(fs::symlink_status(plan.manifest_path, ignored));
  plan.unchanged = taken && fs::is_regular_file(plan.manifest_path, ignored) &&
                   ReadTextFile(plan.manifest_path, ollama::kMaxManifestBytes) == plan.manifest;
  if (taken && !plan.unchanged && !options.force) {
    throw Error(ErrorCode::kExists, {plan.manifest_path.string(), {}, {}},
                "the store has another model of this name; choose another one or give --force");
  }
  fs::create_directories(plan.store, ignored);
  MakeFolder(plan.store / "blobs", plan.store);
  MakeFolder(plan.manifest_path.parent_path(), plan.store);
  for (ImportedLayer& layer : plan.layers) WriteBlob(plan.store, options, layer);
  WriteBlob(plan.store, options, plan.config);
  if (!plan.unchanged) WriteText(plan.manifest_path, plan.manifest, options.force);
}

}  // namespace quern::verify
