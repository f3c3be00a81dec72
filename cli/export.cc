// quern export MODEL -o OUTPUT: a model in another program's form, or out of another program's
// store.
//
//   gguf        a model of an Ollama store: its files and a Modelfile, in a folder
//   llamafile   a GGUF behind a runtime, as one executable
//   safetensors a GGUF as a Hugging Face folder (export_safetensors.h)
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/export_safetensors.h"
#include "formats/core/error.h"
#include "formats/llamafile/llamafile_source.h"
#include "formats/llamafile/llamafile_writer.h"
#include "formats/ollama/stored_model.h"
#include "verify/ollama_export.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;
namespace llamafile = formats::llamafile;

struct Arguments {
  std::string model;
  std::string output;
  std::string format;  // empty: what the other arguments ask for
  formats::OpenOptions open;
  bool copy = false;
  std::string runtime;
  std::vector<std::string> runtime_arguments;
  ExportSafetensorsArguments safetensors;  // but for what it shares with the others
};

Json BlobToJson(const verify::ExportedBlob& blob, bool written) {
  Json json = {{"kind", blob.kind},
               {"path", blob.path.string()},
               {"source", blob.source.string()},
               {"sha256", blob.sha256},
               {"bytes", blob.bytes}};
  if (written) json["placement"] = verify::PlacementName(blob.placement);
  return json;
}

int ExportGguf(const Arguments& arguments, const CommonOptions& common) {
  const auto stored = formats::ollama::StoredModel::From(arguments.model, arguments.open);
  if (!stored) {
    throw Error(ErrorCode::kUsage, {arguments.model, {}, "--format"},
                "this is no model of an Ollama store; write ollama:NAME, or name another format");
  }
  verify::OllamaExport plan = verify::PlanOllamaExport(*stored, arguments.output);
  if (!common.dry_run) {
    verify::RunOllamaExport(arguments.output, {.copy = arguments.copy, .force = common.force},
                            plan);
  }
  Json files = Json::array();
  for (const verify::ExportedBlob& blob : plan.blobs) {
    files.push_back(BlobToJson(blob, !common.dry_run));
    Say(common, fmt::format("{}  {}  {}{}", Printable(blob.path.string(), 4096),
                            HumanBytes(blob.bytes), blob.kind,
                            common.dry_run ? std::string()
                                           : fmt::format(", {}, SHA-256 right",
                                                         verify::PlacementName(blob.placement))));
  }
  const std::string modelfile = (fs::path(arguments.output) / "Modelfile").string();
  Say(common, Printable(modelfile, 4096));
  if (common.json) {
    PrintJson({{"files", std::move(files)},
               {"modelfile", modelfile},
               {"modelfile_text", plan.modelfile},
               {"written", !common.dry_run}});
  }
  return 0;
}

// What the weights are called inside the llamafile.
std::string MemberName(const ModelSource& source, const File& file) {
  const std::string name = fs::path(file.path()).filename().string();
  if (name.ends_with(".gguf")) return name;
  std::string stem = source.path().filename().string();  // ollama:NAME:TAG of a blob
  if (stem.starts_with(formats::ollama::kScheme)) {
    stem.erase(0, formats::ollama::kScheme.size());
  }
  std::replace(stem.begin(), stem.end(), ':', '-');
  return stem + ".gguf";
}

int ExportLlamafile(const Arguments& arguments, const CommonOptions& common) {
  if (arguments.runtime.empty()) {
    throw Error(ErrorCode::kUsage, {arguments.model, {}, "--runtime"},
                "a llamafile needs the program that runs it; name it");
  }
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  if (source->layout() != "gguf" || source->format() == "llamafile") {
    throw Error(ErrorCode::kUsage, {arguments.model, {}, {}},
                "a llamafile holds a GGUF file; `quern convert` makes one of other sources");
  }
  std::vector<llamafile::NewMember> members;
  for (const File& file : source->files()) {
    members.push_back({.name = MemberName(*source, file), .source = file.path()});
  }
  // "..." is where the runtime puts what the user adds on the command line.
  std::string text = fmt::format("-m\n{}\n", members.front().name);
  for (const std::string& argument : arguments.runtime_arguments) text += argument + "\n";
  members.push_back({.name = std::string(llamafile::kArgumentsName), .text = text + "...\n"});
  if (!common.dry_run) {
    llamafile::WriteLlamafile(arguments.runtime, members, arguments.output,
                              {.force = common.force});
  }
  Say(common, fmt::format("{}  {} in {}", Printable(arguments.output, 4096), members.front().name,
                          common.dry_run ? "it would be" : "it"));
  if (common.json) {
    Json names = Json::array();
    for (const auto& member : members) names.push_back(member.name);
    PrintJson({{"path", arguments.output}, {"members", names}, {"written", !common.dry_run}});
  }
  return 0;
}

int ExportFolder(const Arguments& arguments, const CommonOptions& common) {
  ExportSafetensorsArguments safetensors = arguments.safetensors;
  safetensors.model = arguments.model;
  safetensors.output = arguments.output;
  safetensors.open = arguments.open;
  return ExportSafetensors(safetensors, common);
}

struct Format {
  std::string_view name;
  int (*run)(const Arguments& arguments, const CommonOptions& common);
};
constexpr Format kFormats[] = {
    {"gguf", ExportGguf}, {"llamafile", ExportLlamafile}, {"safetensors", ExportFolder}};

// The format that the arguments ask for without naming it.
std::string GuessFormat(const Arguments& arguments) {
  const bool is_llamafile = !arguments.runtime.empty() || arguments.output.ends_with(".llamafile");
  return is_llamafile ? "llamafile" : "gguf";
}

int Export(const Arguments& arguments, const CommonOptions& common) {
  const std::string name = arguments.format.empty() ? GuessFormat(arguments) : arguments.format;
  const auto* format = std::find_if(std::begin(kFormats), std::end(kFormats),
                                    [&](const Format& known) { return known.name == name; });
  return format->run(arguments, common);
}

}  // namespace

void AddExport(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "export",
                 "Take a model out of a store, make a llamafile or a Hugging Face folder of it",
                 {.json = true, .output = true},
                 [arguments, &program] { return Export(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "ollama:NAME[:TAG], GGUF file, ...")->required();
  command->add_option("-o,--output", arguments->output, "Folder, or llamafile to write")
      ->required();
  std::vector<std::string> names;
  for (const Format& format : kFormats) names.emplace_back(format.name);
  command
      ->add_option("--format", arguments->format,
                   "gguf (default; of an Ollama model, with a Modelfile), llamafile (with "
                   "--runtime) or safetensors (of a GGUF)")
      ->check(CLI::IsMember(names));
  AddStoreOption(*command, arguments->open);
  command->add_flag("--copy", arguments->copy, "Copy files instead of linking them");
  command->add_option("--runtime", arguments->runtime, "llamafile program to put before the model")
      ->type_name("PATH");
  command
      ->add_option("--arg", arguments->runtime_arguments,
                   "Argument that the llamafile starts with; may be given several times")
      ->type_name("TEXT");
  AddExportSafetensorsOptions(*command, arguments->safetensors);
}

}  // namespace quern::cli
