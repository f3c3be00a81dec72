// quern export MODEL -o OUTPUT: a model in another program's form.
#include <memory>

#include "cli/command.h"
#include "cli/export_safetensors.h"

namespace quern::cli {

void AddExport(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<ExportSafetensorsArguments>();
  auto format = std::make_shared<std::string>("safetensors");
  CLI::App* command = AddCommand(app, program, "export", "Write a GGUF as a Hugging Face folder",
                                 {.json = true, .output = true}, [arguments, format, &program] {
                                   return ExportSafetensors(*arguments, program.common);
                                 });
  command->add_option("MODEL", arguments->model, "GGUF file, or any shard of a split one")
      ->required();
  command->add_option("-o,--output", arguments->output, "Folder to write")->required();
  command->add_option("--format", *format, "safetensors")->check(CLI::IsMember({"safetensors"}));
  AddExportSafetensorsOptions(*command, *arguments);
}

}  // namespace quern::cli
