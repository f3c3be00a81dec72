// quern split IN.gguf OUT_PREFIX and quern merge SHARD OUT.gguf: what llama.cpp's gguf-split does,
// with its names, keys and bytes.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/split_options.h"
#include "cli/write_model.h"
#include "converters/converter.h"
#include "formats/core/error.h"
#include "formats/gguf/gguf_split.h"
#include "formats/reader.h"

namespace quern::cli {
namespace {

using converters::SplitOptions;
using converters::SplitRules;

constexpr uint64_t kDefaultMaxTensors = 128;  // gguf-split's

struct Arguments {
  std::string model;
  std::string output;
  formats::OpenOptions open;
  SplitOptions split;
};

std::unique_ptr<ModelSource> OpenGguf(const Arguments& arguments, const std::string& command) {
  auto source = formats::OpenModel(arguments.model, arguments.open);
  if (source->layout() != "gguf") {
    throw Error(
        ErrorCode::kUsage, {arguments.model, {}, {}},
        fmt::format("{} takes GGUF files; `quern convert` makes one of this source", command));
  }
  return source;
}

int Copy(const ModelSource& source, const std::string& output, const SplitOptions& split,
         const CommonOptions& common) {
  PlanArguments plan;
  plan.types = {"auto"};
  plan.output = output;
  plan.split = split;
  return WriteModel(source, converters::AsItIs(source), plan, common);
}

int Split(const Arguments& arguments, const CommonOptions& common) {
  const auto source = OpenGguf(arguments, "split");
  SplitOptions split = arguments.split;
  split.rules = SplitRules::kGgufSplit;
  if (split.max_tensors == 0 && split.max_bytes == 0) split.max_tensors = kDefaultMaxTensors;
  // The prefix as it is given; ".gguf" is what comes off an output's name to make one.
  return Copy(*source, arguments.output + ".gguf", split, common);
}

int Merge(const Arguments& arguments, const CommonOptions& common) {
  const auto source = OpenGguf(arguments, "merge");
  if (source->files().size() == 1 &&
      !formats::gguf::ParseShardName(source->path().filename().string())) {
    throw Error(ErrorCode::kUsage, {arguments.model, {}, {}},
                "this is a whole model already; merge takes a shard of a split one");
  }
  return Copy(*source, arguments.output, {.rules = SplitRules::kGgufMerge}, common);
}

}  // namespace

void AddSplitMerge(CLI::App& app, Program& program) {
  auto split = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "split", "Cut a GGUF into shards", {.json = true, .output = true},
                 [split, &program] { return Split(*split, program.common); });
  command->add_option("MODEL", split->model, "GGUF file, or any shard of a split one")->required();
  command
      ->add_option("OUT_PREFIX", split->output,
                   "The shards are OUT_PREFIX-00001-of-00003.gguf, ...")
      ->required();
  AddStoreOption(*command, split->open);
  AddSplitOptions(*command, SplitRules::kGgufSplit, split->split);
  command->get_option("--split-max-tensors")->excludes("--split-max-size");

  auto merge = std::make_shared<Arguments>();
  command = AddCommand(app, program, "merge", "Put the shards of a GGUF together",
                       {.json = true, .output = true},
                       [merge, &program] { return Merge(*merge, program.common); });
  command->add_option("SHARD", merge->model, "Any shard; the others are beside it")->required();
  command->add_option("OUT", merge->output, "GGUF file to write")->required();
  AddStoreOption(*command, merge->open);
}

}  // namespace quern::cli
