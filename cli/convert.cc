// quern convert MODEL [-o FILE] [-t TYPE]...: any readable source to GGUF, in one step.
#include <memory>

#include "cli/command.h"
#include "cli/split_options.h"
#include "cli/write_model.h"
#include "converters/converter.h"
#include "formats/reader.h"

namespace quern::cli {
namespace {

struct Arguments {
  std::string model;
  formats::OpenOptions open;
  PlanArguments plan;
  std::vector<std::string> architecture_files;
  std::string pre;
  std::string model_name;
  std::string metadata_file;
  bool vocab_only = false;
  std::string vocab_from;
  converters::GgmlOptions ggml;
};

int Convert(const Arguments& arguments, const CommonOptions& common) {
  PlanArguments plan = arguments.plan;
  RequireOneKindOfTarget("auto", plan);
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  converters::ConvertOptions options;
  for (const std::string& file : arguments.architecture_files) {
    options.architecture_files.emplace_back(file);
  }
  options.pre = arguments.pre;
  options.model_name = arguments.model_name;
  if (!arguments.metadata_file.empty()) options.metadata_file = arguments.metadata_file;
  options.vocab_only = arguments.vocab_only;
  if (!arguments.vocab_from.empty()) options.vocab_from = arguments.vocab_from;
  options.ggml = arguments.ggml;
  converters::OutputModel model = converters::Convert(*source, options);
  return WriteModel(*source, std::move(model), plan, common);
}

}  // namespace

void AddConvert(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "convert", "Convert a model to GGUF, quantized or not",
                 {.json = true, .output = true},
                 [arguments, &program] { return Convert(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "Folder or file")->required();
  command
      ->add_option("-t,--type", arguments->plan.types,
                   "auto (default: the source's precision), F32, F16, BF16, Q8_0, Q4_K_M, ...; "
                   "repeatable: several outputs from one read")
      ->take_all();
  AddPlanOptions(*command, arguments->plan);
  AddSplitOptions(*command, converters::SplitRules::kConverter, arguments->plan.split);
  AddOpenOptions(*command, arguments->open);
  command
      ->add_option("--architecture", arguments->architecture_files,
                   "Architecture file to use beside the built-in ones (docs/architectures.md)")
      ->take_all();
  command->add_option("--pre", arguments->pre,
                      "Name for tokenizer.ggml.pre, where the pre-tokenizer is not recognized");
  command->add_option("--model-name", arguments->model_name, "general.name");
  command->add_option("--metadata", arguments->metadata_file,
                      "JSON file of general.* keys that override what is found");
  command->add_flag("--vocab-only", arguments->vocab_only, "Write the tokenizer, no tensors");
  command->add_option("--vocab-from", arguments->vocab_from,
                      "Take the tokenizer from here: a folder, a GGUF, a tokenizer.model or .json");
  // The names of llama.cpp's convert_llama_ggml_to_gguf.py.
  command->add_option("--gqa", arguments->ggml.gqa,
                      "GGML files of before GGUF: heads per K/V head (default: found)");
  command->add_option("--eps", arguments->ggml.eps,
                      "GGML files of before GGUF: epsilon of the norms (default: 5e-6)");
  command->add_option("--context-length", arguments->ggml.context_length,
                      "GGML files of before GGUF: context length (default: 2048)");
}

}  // namespace quern::cli
