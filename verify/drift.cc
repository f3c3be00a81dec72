#include "verify/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>

#include "formats/core/error.h"
#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

constexpr size_t kGrain = 4;  // positions that one thread takes at a time

// One model's part of a run.
struct Runner {
  std::unique_ptr<Forward> forward;
  Matrix states;
  std::vector<Prediction> predictions;
  // Of a candidate: sum of exp(reference - its largest) * (reference - candidate), logits.
  std::vector<double> weighted;
};

void CheckVocabulary(const ReferenceModel& reference, const ReferenceModel& candidate,
                     uint64_t reference_size, uint64_t candidate_size) {
  const Value* ours = reference.model.metadata.Find("tokenizer.ggml.tokens");
  const Value* theirs = candidate.model.metadata.Find("tokenizer.ggml.tokens");
  const bool other = ours && theirs && *ours != *theirs;
  if (!other && reference_size == candidate_size) return;
  throw Error(ErrorCode::kMismatch, {candidate.source->path().string(), {}, "token_embd.weight"},
              fmt::format("the vocabulary ({} tokens) is not the reference's ({} tokens); compare "
                          "models of one vocabulary, or their perplexities per byte",
                          candidate_size, reference_size));
}

// Logits of all models for a slab of the vocabulary at a time, and what KLD needs of them.
// progress: share done.
void Compare(std::span<Runner> runners, const Windows& windows, size_t begin, uint64_t rows,
             int threads, const std::function<void(double)>& progress) {
  Runner& reference = runners.front();
  const size_t positions = reference.states.rows();
  for (Runner& runner : runners) {
    runner.predictions.assign(positions, {});
    runner.weighted.assign(positions, 0);
  }
  Matrix logits(positions, rows), others(positions, rows);
  std::vector<double> factors(positions);
  const uint64_t vocabulary = reference.forward->graph().vocabulary;
  for (uint64_t first = 0; first < vocabulary; first += rows) {
    progress(static_cast<double>(first) / static_cast<double>(vocabulary));
    const uint64_t count = std::min(rows, vocabulary - first);
    reference.forward->Logits(reference.states, first, count, logits.data());
    ParallelRanges(threads, positions, kGrain, [&](size_t from, size_t to) {
      for (size_t i = from; i < to; ++i) {
        factors[i] = reference.predictions[i].Add(logits.data() + i * count, first, count,
                                                  windows.Target(begin, i));
      }
    });
    for (Runner& runner : runners.subspan(1)) {
      runner.forward->Logits(runner.states, first, count, others.data());
      ParallelRanges(threads, positions, kGrain, [&](size_t from, size_t to) {
        for (size_t i = from; i < to; ++i) {
          const float* row = others.data() + i * count;
          runner.predictions[i].Add(row, first, count, windows.Target(begin, i));
          runner.weighted[i] = runner.weighted[i] * factors[i] +
                               WeightedDifference(logits.data() + i * count, row, count,
                                                  reference.predictions[i].largest);
        }
      });
    }
  }
}

void Score(const Runner& reference, const Runner& candidate, TokenScores& scores) {
  for (size_t i = 0; i < reference.predictions.size(); ++i) {
    const Prediction& p = reference.predictions[i];
    const Prediction& q = candidate.predictions[i];
    // sum p (ln p - ln q); below 0 only by rounding.
    const double kld = candidate.weighted[i] / p.sum - p.LogSum() + q.LogSum();
    scores.losses.push_back(q.Loss());
    scores.reference_losses.push_back(p.Loss());
    // What is not finite stays so, and Summarize refuses it.
    scores.kld.push_back(kld < 0 && std::isfinite(kld) ? 0 : kld);
    scores.probability.push_back(std::exp(-q.Loss()) - std::exp(-p.Loss()));
    scores.same_top += p.top == q.top;
  }
}

Moments MomentsOf(std::span<const double> values) {
  Moments moments;
  for (const double value : values) moments.Add(value);
  return moments;
}

Distribution Distribute(std::vector<double> values) {
  Distribution distribution{.mean = MomentsOf(values).Mean()};
  std::sort(values.begin(), values.end());
  distribution.sorted = std::move(values);
  return distribution;
}

// sqrt(a^2 + b^2 - 2 covariance): the error of a difference of correlated means.
double DifferenceError(double a, double b, double covariance) {
  return std::sqrt(std::max(0.0, a * a + b * b - 2 * covariance));
}

}  // namespace

void TokenScores::Reserve(size_t tokens) {
  for (auto* values : {&losses, &reference_losses, &kld, &probability}) values->reserve(tokens);
}

CandidateDrift Summarize(TokenScores scores, const std::string& candidate) {
  for (const double kld : scores.kld) {
    if (std::isfinite(kld)) continue;
    throw Error(ErrorCode::kNonFinite, {candidate, {}, "KLD of a token"},
                "is NaN or infinite; the weights are damaged, or the logits too large for f32 "
                "arithmetic");
  }
  CandidateDrift drift;
  const Estimate loss = MomentsOf(scores.losses).Mean();
  const Estimate reference_loss = MomentsOf(scores.reference_losses).Mean();
  const double covariance = CovarianceOfMeans(scores.losses, scores.reference_losses);
  const Estimate reference = Exponential(reference_loss);
  drift.perplexity = Exponential(loss);
  drift.log_ratio = {loss.value - reference_loss.value,
                     DifferenceError(loss.error, reference_loss.error, covariance)};
  drift.ratio = Exponential(drift.log_ratio);
  drift.difference = {drift.perplexity.value - reference.value,
                      DifferenceError(drift.perplexity.error, reference.error,
                                      drift.perplexity.value * reference.value * covariance)};
  const double spread = loss.error * reference_loss.error;
  drift.correlation = spread > 0 ? covariance / spread : 0;

  Moments squares;
  for (const double change : scores.probability) squares.Add(change * change);
  const double rms = std::sqrt(squares.Mean().value);
  drift.rms_probability = {rms, rms > 0 ? squares.Mean().error / (2 * rms) : 0};

  const double n = static_cast<double>(scores.losses.size());
  const double same = static_cast<double>(scores.same_top) / n;
  drift.top1_agreement = {same, n > 1 ? std::sqrt(same * (1 - same) / (n - 1)) : 0};
  drift.kld = Distribute(std::move(scores.kld));
  drift.probability = Distribute(std::move(scores.probability));
  return drift;
}

namespace {

std::vector<Runner> MakeRunners(const ReferenceModel& reference,
                                std::span<const ReferenceModel> candidates, size_t context,
                                uint64_t slab_bytes, Products& products) {
  std::vector<Runner> runners;
  const auto add = [&](const ReferenceModel& model) {
    runners.push_back({std::make_unique<Forward>(model, context, slab_bytes, products)});
  };
  add(reference);
  for (const ReferenceModel& candidate : candidates) {
    add(candidate);
    CheckVocabulary(reference, candidate, runners.front().forward->graph().vocabulary,
                    runners.back().forward->graph().vocabulary);
  }
  return runners;
}

struct Sizes {
  size_t windows_per_batch = 0;
  uint64_t logit_rows = 0;
};

// One model's activations at a time, beside the states of all (and, by layers, the passes of all);
// then two models' logits instead.
Sizes ChooseSizes(std::span<const Runner> runners, const Windows& windows,
                  const EvaluationOptions& options, uint64_t program) {
  const uint64_t memory = MemoryOf(options);
  uint64_t tables = 0, states = 0, passes = 0, activations = 0;
  uint64_t slab_rows = std::numeric_limits<uint64_t>::max();
  for (const Runner& runner : runners) {
    tables += runner.forward->TableBytes();
    states += StateBytes(*runner.forward, windows);
    if (options.by_layer) passes += runner.forward->PassBytes(windows.context);
    activations = std::max(activations, runner.forward->BytesPerWindow(0));
    slab_rows = std::min(slab_rows, runner.forward->LogitSlabRows());
  }
  return {WindowsPerBatch(memory, program + SlabBytes(memory) + tables,
                          states + passes + activations, windows.count),
          std::min(LogitRows(activations / 2, windows), slab_rows)};
}

LayerComparison CompareLayers(std::span<const Runner> runners) {
  std::vector<Forward*> models;
  for (const Runner& runner : runners) models.push_back(runner.forward.get());
  return LayerComparison(std::move(models));
}

// States of a batch from every model, by layers where there is a comparison. progress: share done.
void RunModels(std::span<Runner> runners, const Batch& batch,
               std::optional<LayerComparison>& by_layer,
               const std::function<void(double)>& progress) {
  if (by_layer) {
    std::vector<Matrix> states = by_layer->Run(batch, progress);
    for (size_t r = 0; r < runners.size(); ++r) runners[r].states = std::move(states[r]);
    return;
  }
  const double models = static_cast<double>(runners.size());
  for (size_t r = 0; r < runners.size(); ++r) {
    const double layers = static_cast<double>(runners[r].forward->graph().layers);
    runners[r].states = runners[r].forward->States(batch, [&](uint64_t layer) {
      progress((static_cast<double>(r) + static_cast<double>(layer) / layers) / models);
    });
  }
}

}  // namespace

DriftResult MeasureDrift(const ReferenceModel& reference,
                         std::span<const ReferenceModel> candidates,
                         std::span<const int32_t> tokens, const EvaluationOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  Products products(ThreadCount(options.threads));
  const Windows windows = CutWindows(tokens, reference, options);
  std::vector<Runner> runners =
      MakeRunners(reference, candidates, options.context, SlabBytes(MemoryOf(options)), products);
  uint64_t program = ProgramBytes(reference, products.threads());
  for (const ReferenceModel& candidate : candidates) program += MetadataBytes(candidate);
  const uint64_t scored = windows.count * windows.scored();
  program += windows.bytes() + candidates.size() * scored * kTokenScoreBytes;
  const Sizes sizes = ChooseSizes(runners, windows, options, program);
  std::optional<LayerComparison> by_layer;
  if (options.by_layer) by_layer = CompareLayers(runners);

  DriftResult result{.windows = windows.count};
  std::vector<TokenScores> scores(candidates.size());
  for (TokenScores& of_candidate : scores) of_candidate.Reserve(scored);
  Moments losses;
  for (size_t begin = 0; begin < windows.count; begin += sizes.windows_per_batch) {
    const size_t end = std::min(begin + sizes.windows_per_batch, windows.count);
    // Logits count as one more layer. `part`: of this batch, in layers.
    const double layers = static_cast<double>(runners[0].forward->graph().layers);
    const auto progress = [&](double part) {
      if (!options.progress) return;
      const double done = part / (layers + 1) * static_cast<double>(end - begin);
      options.progress((static_cast<double>(begin) + done) / static_cast<double>(windows.count));
    };
    RunModels(runners, windows.Slice(begin, end), by_layer,
              [&](double share) { progress(layers * share); });
    Compare(runners, windows, begin, sizes.logit_rows, products.threads(),
            [&](double share) { progress(layers + share); });
    for (size_t i = 0; i < candidates.size(); ++i) Score(runners[0], runners[i + 1], scores[i]);
    for (const Prediction& prediction : runners[0].predictions) losses.Add(prediction.Loss());
    ++result.batches;
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    result.candidates.push_back(
        Summarize(std::move(scores[i]), candidates[i].source->path().string()));
    if (by_layer) result.candidates[i].layers = by_layer->drift(i);
  }
  result.reference = Exponential(losses.Mean());
  result.tokens_scored = losses.count();
  result.product_seconds = products.seconds();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

}  // namespace quern::verify
