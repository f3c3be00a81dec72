// quern imatrix [MODEL] -f TEXT -o FILE: an importance matrix as llama-imatrix makes it, from any
// readable source; without a text, earlier files merged.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/evaluation.h"
#include "formats/core/error.h"
#include "formats/imatrix/imatrix_writer.h"
#include "verify/imatrix_collector.h"
#include "verify/imatrix_coverage.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;
using formats::imatrix::Imatrix;
using formats::imatrix::ImatrixForm;
using formats::imatrix::ImatrixSums;

struct Arguments {
  std::string model;
  std::string output = "imatrix.gguf";
  std::string output_format;
  std::vector<std::string> in_files;
  size_t skipped_chunks = 0;
  bool process_output = false;
  EvaluationArguments evaluation;
  const CLI::Option* context = nullptr;
  std::vector<const CLI::Option*> of_text;  // that mean something only where a text is read

  bool collects() const { return !evaluation.text.empty() || !evaluation.token_ids.empty(); }
};

ImatrixForm FormOf(const Arguments& arguments) {
  if (!arguments.output_format.empty()) {
    return arguments.output_format == "dat" ? ImatrixForm::kLegacy : ImatrixForm::kGguf;
  }
  return fs::path(arguments.output).extension() == ".dat" ? ImatrixForm::kLegacy
                                                          : ImatrixForm::kGguf;
}

// Everything that can be refused before hours of work.
void CheckArguments(const Arguments& arguments, const CommonOptions& common) {
  if (!arguments.collects() && arguments.in_files.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--file"},
                "there is nothing to make an importance matrix of; give MODEL and -f TEXT, or "
                "files to merge with --in-file");
  }
  for (const CLI::Option* option : arguments.of_text) {
    if (arguments.collects() || option->count() == 0) continue;
    throw Error(ErrorCode::kUsage, {{}, {}, option->get_name()},
                "says how a text is read, and there is none; give -f TEXT or leave it out");
  }
  if (arguments.collects() && arguments.model.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "MODEL"}, "which model shall read the text? Name it");
  }
  std::error_code ignored;
  if (!common.force && fs::exists(fs::symlink_status(arguments.output, ignored))) {
    throw Error(ErrorCode::kExists, {arguments.output, {}, {}},
                "the output exists; choose another name or give --force");
  }
  const OutputSize output(arguments.output, 0);
  RequireSpace({&output, 1});
}

// --ctx; where nothing is collected, what the first file says that knows.
uint32_t ChunkSize(const Arguments& arguments, const std::vector<Imatrix>& earlier) {
  const bool given = arguments.context->count() > 0 || arguments.collects();
  const auto known = std::find_if(earlier.begin(), earlier.end(),
                                  [](const Imatrix& file) { return file.chunk_size > 0; });
  if (!given && known != earlier.end()) return known->chunk_size;
  constexpr size_t kMost = size_t{1} << 20;
  if (arguments.evaluation.context < 1 || arguments.evaluation.context > kMost) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--ctx"},
                fmt::format("{} is not a context", arguments.evaluation.context));
  }
  return static_cast<uint32_t>(arguments.evaluation.context);
}

ImatrixSums MergeEarlier(const Arguments& arguments) {
  std::vector<Imatrix> earlier;
  for (const std::string& file : arguments.in_files) {
    earlier.push_back(formats::imatrix::ReadImatrix(file));
  }
  ImatrixSums sums;
  sums.chunk_size = ChunkSize(arguments, earlier);
  for (size_t i = 0; i < earlier.size(); ++i) {
    formats::imatrix::AddImatrix(earlier[i], arguments.in_files[i], sums);
  }
  return sums;
}

void SkipChunks(const Arguments& arguments, EvaluationText& text) {
  if (arguments.skipped_chunks == 0) return;
  const size_t context = arguments.evaluation.context;
  const size_t chunks = context > 0 ? text.tokens.size() / context : 0;
  if (chunks < 2 || arguments.skipped_chunks > chunks - 2) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--chunk"},
                fmt::format("the text has {} chunks of {} tokens, of which two must be left; skip "
                            "fewer",
                            chunks, context));
  }
  const size_t tokens = arguments.skipped_chunks * context;
  text.tokens.erase(text.tokens.begin(), text.tokens.begin() + static_cast<ptrdiff_t>(tokens));
}

struct Collected {
  std::optional<int32_t> bos;
  verify::ImatrixRun run;
};

Collected Collect(const Arguments& arguments, const CommonOptions& common,
                  const verify::ReferenceModel& model, ImatrixSums& sums) {
  const EvaluationArguments& evaluation = arguments.evaluation;
  EvaluationText text = ReadText(evaluation, model);
  verify::CheckTokens(text.tokens, model);  // before positions are counted from another place
  SkipChunks(arguments, text);
  ProgressLine line(common);
  const verify::ImatrixOptions options = {
      .evaluation = MakeEvaluationOptions(evaluation, text, common, line),
      .process_output = arguments.process_output};
  const verify::ImatrixRun run = verify::CollectImatrix(model, text.tokens, options, sums);
  line.Finish();
  sums.datasets.push_back(evaluation.text.empty() ? evaluation.token_ids : evaluation.text);
  return {text.bos, run};
}

Json CoverageToJson(const verify::ImatrixCoverage& coverage) {
  Json experts = Json::array();
  for (const verify::ExpertCoverage& tensors : coverage.experts) {
    experts.push_back({{"tensors", tensors.tensors},
                       {"counts", tensors.counts},
                       {"unseen", tensors.unseen},
                       {"rare", tensors.rare}});
  }
  return {{"without_data", coverage.without_data}, {"experts", std::move(experts)}};
}

Json ResultToJson(const Arguments& arguments, const ImatrixSums& sums,
                  const verify::ImatrixCoverage& coverage, const Collected& collected) {
  Json json = {{"model", arguments.model.empty() ? Json() : Json(arguments.model)},
               {"output", arguments.output},
               {"format", FormOf(arguments) == ImatrixForm::kLegacy ? "dat" : "gguf"},
               {"entries", sums.entries.size()},
               {"chunks", sums.ChunkCount()},
               {"chunk_size", sums.chunk_size},
               {"datasets", sums.datasets},
               {"in_files", arguments.in_files},
               {"coverage", CoverageToJson(coverage)}};
  if (arguments.collects()) {
    const verify::ImatrixRun& run = collected.run;
    json["bos"] = collected.bos ? Json(*collected.bos) : Json();
    json["windows"] = run.windows;
    json["batches"] = run.batches;
    json["seconds"] = run.seconds;
    json["product_seconds"] = run.product_seconds;
  }
  return json;
}

void PrintText(const Arguments& arguments, const ImatrixSums& sums,
               const verify::ImatrixCoverage& coverage) {
  const int64_t chunks = sums.ChunkCount();
  fmt::print("{}: {} entries, {} chunk{} of {} tokens\n", arguments.output, sums.entries.size(),
             chunks, chunks == 1 ? "" : "s", sums.chunk_size);
  for (const std::string& name : coverage.without_data) {
    fmt::print("  {}: no data\n", Printable(name));
  }
  for (const verify::ExpertCoverage& experts : coverage.experts) {
    std::vector<std::string> names;
    for (const std::string& name : experts.tensors) names.push_back(Printable(name));
    const size_t count = experts.counts.size();
    fmt::print("  {}:", fmt::join(names, ", "));
    if (!experts.unseen.empty()) {
      fmt::print(
          " partial data ({:.2f}%), never seen: experts {}",
          100.0 * static_cast<double>(count - experts.unseen.size()) / static_cast<double>(count),
          fmt::join(experts.unseen, ", "));
    }
    if (!experts.rare.empty()) {
      fmt::print("{} fewer than {} tokens: experts {}", experts.unseen.empty() ? "" : ";",
                 verify::kRareTokens, fmt::join(experts.rare, ", "));
    }
    fmt::print("\n");
  }
}

int MakeImatrix(const Arguments& arguments, const CommonOptions& common) {
  CheckArguments(arguments, common);
  ImatrixSums sums = MergeEarlier(arguments);
  std::unique_ptr<verify::ReferenceModel> model;
  if (!arguments.model.empty()) {
    model = std::make_unique<verify::ReferenceModel>(
        OpenForEvaluation(arguments.model, arguments.evaluation));
    verify::RequireFit(model->model, sums);
  }
  Collected collected;
  if (arguments.collects()) collected = Collect(arguments, common, *model, sums);
  WriteImatrix(sums, FormOf(arguments), arguments.output, {.force = common.force});
  const verify::ImatrixCoverage coverage =
      verify::MeasureCoverage(sums, model ? &model->model : nullptr);
  if (common.json) {
    PrintJson(ResultToJson(arguments, sums, coverage, collected));
  } else {
    PrintText(arguments, sums, coverage);
  }
  return 0;
}

}  // namespace

void AddImatrix(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddCommand(
      app, program, "imatrix", "Make or merge importance matrices, which guide quantization",
      {.json = true, .memory = true},
      [arguments, &program] { return MakeImatrix(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "Folder or file; not needed to merge");
  AddEvaluationOptions(*command, arguments->evaluation);
  arguments->context = command->get_option("--ctx");
  arguments->of_text = {
      command->get_option("--chunks"),
      command
          ->add_flag("--parse-special", arguments->evaluation.parse_special,
                     "Control tokens in the text are those tokens, not text")
          ->excludes(command->get_option("--token-ids")),
      command->add_option("--chunk,--from-chunk", arguments->skipped_chunks,
                          "Windows to skip at the beginning of the text"),
      command->add_flag("--process-output", arguments->process_output,
                        "Collect for output.weight too (token_embd.weight where that is both)")};
  command
      ->add_option("--in-file", arguments->in_files,
                   "Earlier importance matrix to add, of either form; repeatable")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("-o,--output,--output-file", arguments->output,
                      "File to write (default imatrix.gguf)");
  command
      ->add_option("--output-format", arguments->output_format,
                   "gguf, or dat: the legacy form (default: dat where the name ends in .dat)")
      ->check(CLI::IsMember({"gguf", "dat"}));
  command->add_flag("--force", program.common.force, "Replace an existing output file");
}

}  // namespace quern::cli
