// quern drift REFERENCE CANDIDATE... -f TEXT: what quantization changed, and a gate for pipelines.
#include "verify/drift.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "cli/command.h"
#include "cli/evaluation.h"
#include "cli/interrupt.h"
#include "cli/tensor_errors.h"
#include "formats/core/error.h"
#include "verify/logits_base.h"
#include "verify/model_diff.h"

namespace quern::cli {
namespace {

using formats::logits_base::LogitsBaseReader;

struct Arguments {
  std::string reference;
  std::vector<std::string> candidates;
  EvaluationArguments evaluation;
  std::string base;  // base file in place of the reference; empty: none
  bool by_layer = false;
  bool by_tensor = false;
  double max_kld = -1, max_ppl_ratio = -1, min_top1 = -1;  // below 0: not asked for
};

struct Fraction {
  const char* key;
  double fraction;
};

// Those of llama-perplexity --kl-divergence.
constexpr std::array kKldFractions = {
    Fraction{"max", 1},   Fraction{"p99_9", 0.999}, Fraction{"p99", 0.99}, Fraction{"p95", 0.95},
    Fraction{"p90", 0.9}, Fraction{"median", 0.5},  Fraction{"p10", 0.1},  Fraction{"p5", 0.05},
    Fraction{"p1", 0.01}, Fraction{"p0_1", 0.001},  Fraction{"min", 0}};
constexpr std::array kProbabilityFractions = {
    Fraction{"max", 1},      Fraction{"p99_9", 0.999}, Fraction{"p99", 0.99},
    Fraction{"p95", 0.95},   Fraction{"p90", 0.9},     Fraction{"p75", 0.75},
    Fraction{"median", 0.5}, Fraction{"p25", 0.25},    Fraction{"p10", 0.1},
    Fraction{"p5", 0.05},    Fraction{"p1", 0.01},     Fraction{"p0_1", 0.001},
    Fraction{"min", 0}};

Json EstimateToJson(const verify::Estimate& estimate) {
  return {{"value", estimate.value}, {"standard_error", estimate.error}};
}

template <size_t n>
Json DistributionToJson(const verify::Distribution& distribution,
                        const std::array<Fraction, n>& fractions) {
  Json json = {{"mean", distribution.mean.value}, {"standard_error", distribution.mean.error}};
  for (const Fraction& f : fractions) {
    json[f.key] = verify::Percentile(distribution.sorted, f.fraction);
  }
  return json;
}

// layers[0] is the embedding.
Json LayersToJson(const std::vector<verify::LayerDrift>& layers) {
  Json json = Json::array();
  for (size_t i = 1; i < layers.size(); ++i) {
    json.push_back({{"layer", i - 1},
                    {"relative_error", layers[i].relative_error.Mean().value},
                    {"cosine", layers[i].cosine.Mean().value}});
  }
  return json;
}

Json CandidateToJson(const std::string& file, const verify::CandidateDrift& drift) {
  Json probability = DistributionToJson(drift.probability, kProbabilityFractions);
  probability["rms"] = EstimateToJson(drift.rms_probability);
  Json json = {{"file", file},
               {"perplexity", drift.perplexity.value},
               {"standard_error", drift.perplexity.error},
               {"ppl_ratio", drift.ratio.value},
               {"ppl_ratio_standard_error", drift.ratio.error},
               {"ln_ppl_ratio", EstimateToJson(drift.log_ratio)},
               {"ppl_difference", EstimateToJson(drift.difference)},
               {"correlation", drift.correlation},
               {"kld", DistributionToJson(drift.kld, kKldFractions)},
               {"probability_change", std::move(probability)},
               {"top1_agreement", drift.top1_agreement.value},
               {"top1_standard_error", drift.top1_agreement.error}};
  if (!drift.layers.empty()) {
    json["embedding"] = {{"relative_error", drift.layers[0].relative_error.Mean().value},
                         {"cosine", drift.layers[0].cosine.Mean().value}};
    json["layers"] = LayersToJson(drift.layers);
  }
  return json;
}

Json ResultToJson(const Arguments& arguments, const verify::DriftResult& result,
                  const EvaluationText& text) {
  Json candidates = Json::array();
  for (size_t i = 0; i < result.candidates.size(); ++i) {
    candidates.push_back(CandidateToJson(arguments.candidates[i], result.candidates[i]));
  }
  return {{"reference",
           {{"file", arguments.reference},
            {"perplexity", result.reference.value},
            {"standard_error", result.reference.error}}},
          {"candidates", std::move(candidates)},
          {"tokens", text.tokens.size()},
          {"tokens_scored", result.tokens_scored},
          {"windows", result.windows},
          {"context", arguments.evaluation.context},
          {"bos", text.bos ? Json(*text.bos) : Json()},
          {"batches", result.batches},
          {"seconds", result.seconds},
          {"product_seconds", result.product_seconds}};
}

template <size_t n>
void PrintDistribution(const char* name, const verify::Distribution& distribution,
                       const std::array<Fraction, n>& fractions, double unit) {
  fmt::print("  {:<10} mean {:11.6f} +/- {:.6f}\n", name, unit * distribution.mean.value,
             unit * distribution.mean.error);
  for (const Fraction& f : fractions) {
    fmt::print("  {:<10} {:<6} {:9.6f}\n", name, f.key,
               unit * verify::Percentile(distribution.sorted, f.fraction));
  }
}

void PrintLayers(const std::vector<verify::LayerDrift>& layers) {
  if (layers.empty()) return;
  fmt::print("  {:<10} {:>15} {:>12}\n", "layer", "relative error", "cosine");
  for (size_t i = 0; i < layers.size(); ++i) {
    fmt::print("  {:<10} {:>15.6f} {:>12.8f}\n", i == 0 ? "embedding" : fmt::to_string(i - 1),
               layers[i].relative_error.Mean().value, layers[i].cosine.Mean().value);
  }
}

void PrintCandidate(const std::string& file, const verify::CandidateDrift& drift) {
  fmt::print("{}\n", file);
  fmt::print("  perplexity {:.6f} +/- {:.6f}, ratio {:.6f} +/- {:.6f}\n", drift.perplexity.value,
             drift.perplexity.error, drift.ratio.value, drift.ratio.error);
  fmt::print("  ln(ratio)  {:.6f} +/- {:.6f}, difference {:.6f} +/- {:.6f}, correlation {:.2f} %\n",
             drift.log_ratio.value, drift.log_ratio.error, drift.difference.value,
             drift.difference.error, 100 * drift.correlation);
  PrintDistribution("KLD", drift.kld, kKldFractions, 1);
  PrintDistribution("dp (%)", drift.probability, kProbabilityFractions, 100);
  fmt::print("  {:<10} rms  {:11.6f} +/- {:.6f}\n", "dp (%)", 100 * drift.rms_probability.value,
             100 * drift.rms_probability.error);
  fmt::print("  same top token {:.3f} +/- {:.3f} %\n", 100 * drift.top1_agreement.value,
             100 * drift.top1_agreement.error);
  PrintLayers(drift.layers);
}

// Throws for the first figure that crosses its threshold.
void CheckThresholds(const Arguments& arguments, const verify::DriftResult& result) {
  const double min_top1 = arguments.min_top1 > 1 ? arguments.min_top1 / 100 : arguments.min_top1;
  for (size_t i = 0; i < result.candidates.size(); ++i) {
    const verify::CandidateDrift& drift = result.candidates[i];
    const auto fail = [&](const char* figure, double value, const char* relation, double limit) {
      throw Error(ErrorCode::kCheckFailed, {arguments.candidates[i], {}, figure},
                  fmt::format("is {:.6g}, {} the limit of {:.6g}; quantize to a larger type or use "
                              "an importance matrix",
                              value, relation, limit));
    };
    // Written so that NaN crosses every limit.
    if (arguments.max_kld >= 0 && !(drift.kld.mean.value <= arguments.max_kld)) {
      fail("mean KLD", drift.kld.mean.value, "above", arguments.max_kld);
    }
    if (arguments.max_ppl_ratio >= 0 && !(drift.ratio.value <= arguments.max_ppl_ratio)) {
      fail("perplexity ratio", drift.ratio.value, "above", arguments.max_ppl_ratio);
    }
    if (min_top1 >= 0 && !(drift.top1_agreement.value >= min_top1)) {
      fail("top-1 agreement", drift.top1_agreement.value, "below", min_top1);
    }
  }
}

verify::DriftResult Measure(const std::vector<verify::ReferenceModel>& models,
                            const LogitsBaseReader* base, const EvaluationText& text,
                            const verify::EvaluationOptions& options) {
  if (base) return verify::MeasureDriftFromBase(*base, models, options);
  return verify::MeasureDrift(models.front(), std::span(models).subspan(1), text.tokens, options);
}

// Of each candidate, against the reference's weights.
std::vector<std::vector<verify::TensorDiff>> WeightErrors(
    const std::vector<verify::ReferenceModel>& models, const CommonOptions& common) {
  std::vector<std::vector<verify::TensorDiff>> errors;
  const verify::ReferenceModel& reference = models.front();
  const verify::DiffOptions options{
      .compare = {.threads = common.threads, .memory = common.memory / 4},
      .progress = [](double) { ThrowIfInterrupted(); }};
  for (const verify::ReferenceModel& candidate : std::span(models).subspan(1)) {
    errors.push_back(verify::DiffTensors({*reference.source, reference.model},
                                         {*candidate.source, candidate.model}, options));
  }
  return errors;
}

void Print(const Arguments& arguments, const verify::DriftResult& result,
           const std::vector<std::vector<verify::TensorDiff>>& tensors) {
  fmt::print("{}\n  perplexity {:.6f} +/- {:.6f}, {} tokens scored in {} windows of {}\n",
             arguments.reference, result.reference.value, result.reference.error,
             result.tokens_scored, result.windows, arguments.evaluation.context);
  for (size_t i = 0; i < result.candidates.size(); ++i) {
    PrintCandidate(arguments.candidates[i], result.candidates[i]);
    if (arguments.by_tensor) fmt::print("{}", WeightErrorsText(tensors[i]));
  }
}

// The reference, unless a base file takes its place, and the candidates.
std::vector<verify::ReferenceModel> OpenModels(const Arguments& arguments) {
  std::vector<verify::ReferenceModel> models;
  if (arguments.base.empty()) {
    models.push_back(OpenForEvaluation(arguments.reference, arguments.evaluation));
  }
  for (const std::string& path : arguments.candidates) {
    models.push_back(OpenForEvaluation(path, arguments.evaluation));
  }
  return models;
}

int Drift(Arguments arguments, const CommonOptions& common) {
  std::optional<LogitsBaseReader> base;
  if (!arguments.base.empty()) {
    base.emplace(arguments.base);
    arguments.candidates.insert(arguments.candidates.begin(), arguments.reference);
    arguments.reference = arguments.base;
    arguments.evaluation.context = base->dimensions().context;
  }
  if (arguments.candidates.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "CANDIDATE"},
                "a model to compare with the reference is needed: drift REFERENCE CANDIDATE...");
  }
  const std::vector<verify::ReferenceModel> models = OpenModels(arguments);
  const EvaluationText text =
      base ? EvaluationText{.tokens = base->tokens(),
                            .bos = verify::BeginningToken(models.front().model.metadata)}
           : ReadText(arguments.evaluation, models.front());
  ProgressLine line(common);
  verify::EvaluationOptions options =
      MakeEvaluationOptions(arguments.evaluation, text, common, line);
  options.by_layer = arguments.by_layer;
  const verify::DriftResult result = Measure(models, base ? &*base : nullptr, text, options);
  line.Finish();
  std::vector<std::vector<verify::TensorDiff>> tensors;
  if (arguments.by_tensor) tensors = WeightErrors(models, common);
  if (common.json) {
    Json json = ResultToJson(arguments, result, text);
    for (size_t i = 0; i < tensors.size(); ++i) {
      json["candidates"][i]["tensors"] = WeightErrorsToJson(tensors[i]);
    }
    PrintJson(json);
  } else {
    Print(arguments, result, tensors);
  }
  CheckThresholds(arguments, result);
  return 0;
}

}  // namespace

void AddDrift(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "drift", "Measure how far quantized models drift from their source",
                 {.json = true, .memory = true},
                 [arguments, &program] { return Drift(*arguments, program.common); });
  command->add_option("REFERENCE", arguments->reference, "The source: folder or file")->required();
  command->add_option("CANDIDATE", arguments->candidates, "Models to compare with it");
  AddEvaluationOptions(*command, arguments->evaluation);
  CLI::Option* by_layer =
      command->add_flag("--by-layer", arguments->by_layer,
                        "Also how far the hidden states are apart after each layer");
  CLI::Option* by_tensor = command->add_flag(
      "--by-tensor", arguments->by_tensor, "Also compare the weights of each tensor, worst first");
  command
      ->add_option(
          "--kl-divergence-base", arguments->base,
          "Base file that takes REFERENCE's place and holds the text, from perplexity's or "
          "llama-perplexity's option of that name; all models are candidates then")
      ->type_name("FILE")
      ->excludes(by_layer)
      ->excludes(by_tensor)
      ->excludes(command->get_option("--file"))
      ->excludes(command->get_option("--token-ids"))
      ->excludes(command->get_option("--ctx"));
  command->add_option("--max-kld", arguments->max_kld, "Exit 1 if a mean KLD is above this")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--max-ppl-ratio", arguments->max_ppl_ratio,
                   "Exit 1 if a perplexity is above this many times the reference's")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--min-top1", arguments->min_top1,
                   "Exit 1 if the top token agrees less often: a part (0.95) or percent (95)")
      ->check(CLI::Range(0.0, 100.0));
}

}  // namespace quern::cli
