// quern import MODEL.gguf ollama:NAME[:TAG]: a GGUF into an Ollama store.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/ollama/stored_model.h"
#include "verify/ollama_import.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;
namespace ollama = formats::ollama;

struct Arguments {
  std::string model;
  std::string name;
  formats::OpenOptions open;
  std::string modelfile;
  std::string template_text, system;
  std::vector<std::string> parameters, licenses;
  bool copy = false;
};

// The text of an option, or of the file that "@FILE" names.
std::string TextOf(const std::string& value) {
  if (!value.starts_with('@')) return value;
  return ReadTextFile(value.substr(1), ollama::kMaxModelfileBytes);
}

ollama::Instruction ParameterOf(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == text.npos) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--parameter"},
                fmt::format("\"{}\" is no NAME=VALUE", Printable(text)));
  }
  return {"parameter", text.substr(0, equals), text.substr(equals + 1)};
}

void Replace(const std::string& name, std::vector<ollama::Instruction> by, ollama::Modelfile& in) {
  if (by.empty()) return;
  std::erase_if(in.instructions, [&](const ollama::Instruction& old) {
    if (old.name != name) return false;
    return old.key.empty() || std::any_of(by.begin(), by.end(), [&](const auto& instruction) {
             return instruction.key == old.key;
           });
  });
  for (ollama::Instruction& instruction : by) in.instructions.push_back(std::move(instruction));
}

// The Modelfile, with what the options say in place of what it says.
ollama::Modelfile Instructions(const Arguments& arguments) {
  ollama::Modelfile modelfile;
  if (!arguments.modelfile.empty()) {
    modelfile = ollama::ParseModelfile(
        ReadTextFile(arguments.modelfile, ollama::kMaxModelfileBytes), arguments.modelfile);
  }
  std::vector<ollama::Instruction> parameters, licenses;
  for (const std::string& text : arguments.parameters) parameters.push_back(ParameterOf(text));
  for (const std::string& text : arguments.licenses) {
    licenses.push_back({"license", "", TextOf(text)});
  }
  Replace("parameter", std::move(parameters), modelfile);
  Replace("license", std::move(licenses), modelfile);
  const auto replace_text = [&](const char* name, const std::string& text) {
    if (!text.empty()) Replace(name, {{name, "", TextOf(text)}}, modelfile);
  };
  replace_text("template", arguments.template_text);
  replace_text("system", arguments.system);
  return modelfile;
}

std::string Describe(const verify::ImportedLayer& layer, bool dry_run) {
  if (dry_run) return {};
  if (!layer.placement) return "already there";
  return layer.source.empty() ? "written" : std::string(verify::PlacementName(*layer.placement));
}

Json LayerToJson(const verify::ImportedLayer& layer, bool dry_run) {
  Json json = {{"media_type", layer.media_type},
               {"digest", "sha256:" + layer.sha256},
               {"bytes", layer.bytes}};
  if (!dry_run) json["blob"] = Describe(layer, dry_run);
  return json;
}

void Report(const verify::OllamaImport& plan, const CommonOptions& common) {
  Json layers = Json::array();
  for (const verify::ImportedLayer& layer : plan.layers) {
    layers.push_back(LayerToJson(layer, common.dry_run));
    Say(common,
        fmt::format("{:<42} {:>9}  sha256:{}  {}", layer.media_type, HumanBytes(layer.bytes),
                    layer.sha256, Describe(layer, common.dry_run)));
  }
  Say(common, fmt::format("{}{}", Printable(plan.manifest_path.string(), 4096),
                          plan.unchanged ? "  already there" : ""));
  if (!common.json) return;
  PrintJson({{"manifest", plan.manifest_path.string()},
             {"config", LayerToJson(plan.config, common.dry_run)},
             {"layers", std::move(layers)},
             {"unchanged", plan.unchanged},
             {"written", !common.dry_run}});
}

int Import(const Arguments& arguments, const CommonOptions& common) {
  if (!arguments.name.starts_with(ollama::kScheme)) {
    throw Error(ErrorCode::kUsage, {{}, {}, Printable(arguments.name)},
                "models are imported into Ollama stores; write ollama:NAME[:TAG]");
  }
  const auto name =
      ollama::ParseModelName(std::string_view(arguments.name).substr(ollama::kScheme.size()));
  const fs::path store =
      arguments.open.store.empty() ? ollama::Store::Find({}).root() : arguments.open.store;
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  verify::OllamaImport plan = verify::PlanOllamaImport(
      {source.get(), Instructions(arguments), fs::path(arguments.modelfile).parent_path()}, store,
      name);
  if (!common.dry_run) {
    verify::RunOllamaImport({.copy = arguments.copy, .force = common.force}, plan);
  }
  Report(plan, common);
  return 0;
}

}  // namespace

void AddImport(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "import", "Put a GGUF into an Ollama store", {.json = true},
                 [arguments, &program] { return Import(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "GGUF file, or an address of one")->required();
  command->add_option("NAME", arguments->name, "ollama:[NAMESPACE/]NAME[:TAG]")->required();
  command
      ->add_option("--store", arguments->open.store,
                   "Ollama store (default: $OLLAMA_MODELS, ~/.ollama/models, "
                   "/usr/share/ollama/.ollama/models); a named one is made where there is none")
      ->type_name("DIR");
  command
      ->add_option("--modelfile", arguments->modelfile,
                   "Take template, system, parameters, license, messages, projectors and adapters "
                   "from this Modelfile")
      ->type_name("FILE");
  command->add_option("--template", arguments->template_text, "Prompt template, or @FILE")
      ->type_name("TEXT");
  command->add_option("--system", arguments->system, "System message, or @FILE")->type_name("TEXT");
  command
      ->add_option("--parameter", arguments->parameters,
                   "NAME=VALUE; may be given several times (stop: each adds one)")
      ->type_name("NAME=VALUE");
  command
      ->add_option("--license", arguments->licenses,
                   "License, or @FILE; may be given several times")
      ->type_name("TEXT");
  command->add_flag("--copy", arguments->copy, "Copy the file instead of linking it");
  command->add_flag("--dry-run", program.common.dry_run, "Say what would be written");
  command->add_flag("--force", program.common.force, "Replace a model of this name");
}

}  // namespace quern::cli
