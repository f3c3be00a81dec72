// quern inspect MODEL: what is in it, for any readable source.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/metadata_json.h"
#include "cli/store_report.h"
#include "formats/core/error.h"
#include "formats/ollama/stored_model.h"
#include "formats/reader.h"
#include "verify/tensor_hash.h"

namespace quern::cli {
namespace {

struct Arguments {
  std::string model;
  formats::OpenOptions open{.root = std::string(formats::kWholeFile)};
  bool tensors = false;
  bool hash = false;
  bool full = false;
};

Json Architecture(const ModelSource& source) {
  if (const auto name = source.metadata().GetString("general.architecture")) return *name;
  const Json& config = source.config();
  if (config.is_object()) {
    const auto list = config.find("architectures");
    if (list != config.end() && list->is_array() && !list->empty()) return list->front();
    if (const auto type = config.find("model_type"); type != config.end()) return *type;
  }
  return nullptr;
}

Json TensorToJson(const TensorInfo& tensor, const std::string* digest) {
  Json json = {{"name", tensor.name},
               {"type", Name(tensor.type)},
               {"shape", tensor.shape},
               {"bytes", tensor.bytes}};
  if (digest) json["sha256"] = *digest;
  return json;
}

Json ModelToJson(const ModelSource& source, const std::vector<std::string>& digests,
                 const Arguments& arguments) {
  Json tensors = Json::array();
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    tensors.push_back(TensorToJson(source.tensors()[i], digests.empty() ? nullptr : &digests[i]));
  }
  Json files = Json::array();
  for (const File& file : source.files()) {
    files.push_back({{"path", file.path()}, {"bytes", file.size()}});
  }
  Json json = {{"format", source.format()},
               {"architecture", Architecture(source)},
               {"files", std::move(files)},
               {"metadata", MetadataToJson(source.metadata(), arguments.full)},
               {"tensors", std::move(tensors)}};
  if (!source.config().is_null()) json["config"] = source.config();
  return json;
}

void PrintText(const ModelSource& source, const std::vector<std::string>& digests,
               const Arguments& arguments) {
  const Json architecture = Architecture(source);
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : source.tensors()) bytes += tensor.bytes;
  fmt::print(
      "{}\n  format        {}\n  architecture  {}\n  files         {}\n  tensors       {} ({})\n",
      Printable(source.path().string(), 4096), source.format(),
      architecture.is_string() ? Printable(architecture.get<std::string>()) : "unknown",
      source.files().size(), source.tensors().size(), HumanBytes(bytes));
  for (const auto& [key, value] : source.metadata().entries()) {
    fmt::print("  {:<5} {:<48} {}\n", ValueTypeName(TypeOf(value)), Printable(key, 80),
               ValueText(value, arguments.full));
  }
  if (!arguments.tensors && !arguments.hash) return;
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    const TensorInfo& tensor = source.tensors()[i];
    fmt::print("  {:<8} {:<48} [{}]{}{}\n", Name(tensor.type), Printable(tensor.name),
               fmt::join(tensor.shape, ", "), digests.empty() ? "" : "  ",
               digests.empty() ? "" : digests[i]);
  }
}

int Inspect(const Arguments& arguments, const CommonOptions& common) {
  if (arguments.model == formats::ollama::kScheme) {
    ListStore(formats::ollama::Store::Find(arguments.open.store), common);
    return 0;
  }
  const auto stored = formats::ollama::StoredModel::From(arguments.model, arguments.open);
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  std::vector<std::string> digests;
  if (arguments.hash) digests = verify::HashTensors(*source, common.threads);
  if (common.json) {
    Json json = ModelToJson(*source, digests, arguments);
    if (stored) json["ollama"] = StoredToJson(*stored);
    PrintJson(json);
  } else {
    PrintText(*source, digests, arguments);
    if (stored) PrintStored(*stored, arguments.full);
  }
  return 0;
}

}  // namespace

void AddInspect(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "inspect", "Show what a model contains", {.json = true},
                 [arguments, &program] { return Inspect(*arguments, program.common); });
  command
      ->add_option("MODEL", arguments->model,
                   "Folder, file or address; \"ollama:\" alone lists a store's models")
      ->required();
  AddOpenOptions(*command, arguments->open);
  command->add_flag("--tensors", arguments->tensors, "List the tensors");
  command->add_flag("--hash", arguments->hash,
                    "SHA-256 of each tensor's contiguous little-endian bytes");
  command->add_flag("--full", arguments->full, "Print long arrays and strings whole");
}

}  // namespace quern::cli
