// quern quantize IN.gguf -t TYPE [-o FILE]: requantize a GGUF, with llama-quantize's bytes.
#include <memory>

#include "cli/command.h"
#include "cli/split_options.h"
#include "cli/write_model.h"
#include "converters/converter.h"
#include "formats/core/error.h"
#include "formats/reader.h"

namespace quern::cli {
namespace {

struct Arguments {
  std::string model;
  formats::OpenOptions open;
  PlanArguments plan;
};

int Quantize(const Arguments& arguments, const CommonOptions& common) {
  PlanArguments plan = arguments.plan;
  RequireOneKindOfTarget("", plan);
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  if (source->layout() != "gguf") {
    throw Error(ErrorCode::kUsage, {arguments.model, {}, {}},
                "quantize takes a GGUF file; `quern convert MODEL -t TYPE` takes this source in "
                "one step");
  }
  return WriteModel(*source, converters::Convert(*source, {}), plan, common);
}

}  // namespace

void AddQuantize(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddCommand(
      app, program, "quantize", "Quantize a GGUF to another type", {.json = true, .output = true},
      [arguments, &program] { return Quantize(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "GGUF file, or any shard of a split one")
      ->required();
  AddStoreOption(*command, arguments->open);
  command
      ->add_option("-t,--type", arguments->plan.types,
                   "Q4_K_M, Q8_0, ... as `quern types` lists them; repeatable")
      ->take_all();
  AddPlanOptions(*command, arguments->plan);
  AddSplitOptions(*command, converters::SplitRules::kConverter, arguments->plan.split);
  AddKeepSplit(*command, arguments->plan.split);
}

}  // namespace quern::cli
