// quern perplexity MODEL -f TEXT: llama-perplexity's figure, from any readable source.
#include "verify/perplexity.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <numbers>

#include "cli/command.h"
#include "cli/evaluation.h"
#include "verify/logits_base.h"

namespace quern::cli {
namespace {

struct Arguments {
  std::string model;
  EvaluationArguments evaluation;
  std::string base;  // file to write; empty: none
};

// Figures that do not depend on the tokenizer, so that models with different ones compare: the mean
// loss per token, times tokens per byte or word of the whole text.
struct PerText {
  double bits_per_byte = 0, per_byte = 0, per_word = 0;
};

PerText ComparePerText(const verify::PerplexityResult& result, const EvaluationText& text) {
  const bool has_bos = !text.tokens.empty() && text.bos && text.tokens.front() == *text.bos;
  const double loss =
      result.mean_loss.value * static_cast<double>(text.tokens.size() - (has_bos ? 1 : 0));
  const double per_byte = loss / static_cast<double>(text.bytes);
  return {per_byte / std::numbers::ln2, std::exp(per_byte),
          std::exp(loss / static_cast<double>(std::max<uint64_t>(text.words, 1)))};
}

Json ResultToJson(const Arguments& arguments, const verify::PerplexityResult& result,
                  const EvaluationText& text) {
  Json json = {{"model", arguments.model},
               {"perplexity", result.perplexity.value},
               {"standard_error", result.perplexity.error},
               {"mean_loss", result.mean_loss.value},
               {"tokens", text.tokens.size()},
               {"tokens_scored", result.tokens_scored},
               {"windows", result.windows},
               {"context", arguments.evaluation.context},
               {"first_scored", arguments.evaluation.context / 2},
               {"bos", text.bos ? Json(*text.bos) : Json()},
               {"batches", result.batches},
               {"seconds", result.seconds},
               {"product_seconds", result.product_seconds}};
  if (text.bytes > 0) {
    const PerText per_text = ComparePerText(result, text);
    json["bits_per_byte"] = per_text.bits_per_byte;
    json["byte_perplexity"] = per_text.per_byte;
    json["word_perplexity"] = per_text.per_word;
  }
  return json;
}

int Perplexity(const Arguments& arguments, const CommonOptions& common) {
  const verify::ReferenceModel model = OpenForEvaluation(arguments.model, arguments.evaluation);
  const EvaluationText text = ReadText(arguments.evaluation, model);
  ProgressLine line(common);
  verify::EvaluationOptions options =
      MakeEvaluationOptions(arguments.evaluation, text, common, line);
  bool estimates = false;  // since the progress line was shown last
  options.progress = [&, progress = options.progress](double done) {
    if (estimates) Say(common, "");
    estimates = false;
    progress(done);
  };
  options.estimate = [&](size_t window, double perplexity) {
    if (!estimates) line.Finish();
    estimates = true;
    if (!common.quiet) WriteToStderr(fmt::format("[{}]{:.4f},", window + 1, perplexity));
  };
  const verify::PerplexityResult result =
      arguments.base.empty() ? verify::MeasurePerplexity(model, text.tokens, options)
                             : verify::WriteLogitsBase(model, text.tokens, options, arguments.base,
                                                       {.force = common.force});
  Say(common, "");
  if (common.json) {
    PrintJson(ResultToJson(arguments, result, text));
    return 0;
  }
  fmt::print("perplexity {:.6f} +/- {:.5f}\n", result.perplexity.value, result.perplexity.error);
  if (text.bytes > 0) {
    const PerText per_text = ComparePerText(result, text);
    fmt::print("per byte {:.6f} ({:.6f} bits), per word {:.4f}\n", per_text.per_byte,
               per_text.bits_per_byte, per_text.per_word);
  }
  fmt::print("{} tokens scored in {} windows of {}\n", result.tokens_scored, result.windows,
             arguments.evaluation.context);
  return 0;
}

}  // namespace

void AddPerplexity(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddCommand(
      app, program, "perplexity", "Measure the perplexity of a text by exact f32 inference",
      {.json = true, .memory = true},
      [arguments, &program] { return Perplexity(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "Folder or file")->required();
  AddEvaluationOptions(*command, arguments->evaluation);
  command
      ->add_option(
          "--kl-divergence-base,--save-all-logits", arguments->base,
          "Write the tokens and all log-probabilities, as llama-perplexity does, for drift "
          "or llama-perplexity --kl-divergence")
      ->type_name("FILE");
  command->add_flag("--force", program.common.force, "Replace an existing FILE");
}

}  // namespace quern::cli
