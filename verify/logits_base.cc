#include "verify/logits_base.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "formats/core/error.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

using formats::logits_base::Dimensions;
using formats::logits_base::LogitsBaseReader;
using formats::logits_base::LogitsBaseWriter;

// Less likely tokens of the base do not count for the divergence.
constexpr float kLeastLogProbability = -16;

// One thread's room for a row.
struct Row {
  std::vector<float> base;             // ln p
  std::vector<float> counted, logits;  // of the tokens that count: ln p, the candidate's logit
};

// What a scored position adds: the candidate's logits against the base's row.
struct PositionScore {
  double loss = 0, reference_loss = 0, kld = 0;
  bool same_top = false;
};

PositionScore Score(const LogitsBaseReader& base, uint64_t position, std::span<const float> logits,
                    int32_t target) {
  thread_local Row row;
  row.base.resize(logits.size());
  base.Read(position, row.base);
  row.counted.clear();
  row.logits.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (row.base[i] <= kLeastLogProbability) continue;
    row.counted.push_back(row.base[i]);
    row.logits.push_back(logits[i]);
  }
  Prediction candidate;
  candidate.Add(logits.data(), 0, logits.size(), target);
  const auto top = std::max_element(row.base.begin(), row.base.end()) - row.base.begin();
  // sum p (ln p - ln q), with ln q = logit - LogSum().
  const size_t counted = row.counted.size();
  return {candidate.Loss(), -static_cast<double>(row.base[static_cast<size_t>(target)]),
          WeightedDifference(row.counted.data(), row.logits.data(), counted, 0) +
              SumOfExponentials(row.counted.data(), counted, 0) * candidate.LogSum(),
          candidate.top == top};
}

void CheckVocabulary(const LogitsBaseReader& base, const ReferenceModel& candidate) {
  const uint64_t ours = base.dimensions().vocabulary;
  const uint64_t theirs = VocabularyOf(candidate);
  if (ours == theirs) return;
  throw Error(ErrorCode::kMismatch, {candidate.source->path().string(), {}, "token_embd.weight"},
              fmt::format("the vocabulary ({} tokens) is not the base file's ({} tokens); compare "
                          "models of one vocabulary, or their perplexities per byte",
                          theirs, ours));
}

Windows WindowsOf(const LogitsBaseReader& base, const ReferenceModel& candidate,
                  size_t max_windows) {
  Windows windows{.context = base.dimensions().context, .count = base.dimensions().windows};
  if (max_windows > 0) windows.count = std::min(windows.count, max_windows);
  const auto end = base.tokens().begin() + static_cast<ptrdiff_t>(windows.count * windows.context);
  windows.tokens.assign(base.tokens().begin(), end);
  if (const auto bos = BeginningToken(candidate.model.metadata)) {
    for (size_t i = 0; i < windows.count; ++i) windows.tokens[i * windows.context] = *bos;
  }
  return windows;
}

// Bytes of what is held beside the run of one candidate: metadata of the others, the file's tokens,
// and what is kept of all positions.
uint64_t BytesBeside(const LogitsBaseReader& base, std::span<const ReferenceModel> candidates,
                     size_t at, uint64_t positions) {
  uint64_t bytes = base.tokens().size() * sizeof(int32_t) +
                   positions * (sizeof(PositionScore) + candidates.size() * kTokenScoreBytes);
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i != at) bytes += MetadataBytes(candidates[i]);
  }
  return bytes;
}

TokenScores Collect(std::span<const PositionScore> positions) {
  TokenScores scores;
  scores.Reserve(positions.size());
  for (const PositionScore& score : positions) {
    scores.losses.push_back(score.loss);
    scores.reference_losses.push_back(score.reference_loss);
    scores.kld.push_back(score.kld);
    scores.probability.push_back(std::exp(-score.loss) - std::exp(-score.reference_loss));
    scores.same_top += score.same_top;
  }
  return scores;
}

}  // namespace

PerplexityResult WriteLogitsBase(const ReferenceModel& model, std::span<const int32_t> tokens,
                                 EvaluationOptions options, const std::filesystem::path& path,
                                 const OutputOptions& output) {
  const Windows windows = CutWindows(tokens, model, options);
  const Dimensions dimensions{
      .context = windows.context, .vocabulary = VocabularyOf(model), .windows = windows.count};
  LogitsBaseWriter writer(path, dimensions, tokens.first(windows.tokens.size()), output);
  options.logits = [&](uint64_t position, std::span<const float> logits) {
    writer.Write(position, logits);
  };
  const PerplexityResult result = MeasurePerplexity(model, windows, options);
  writer.Commit();
  return result;
}

DriftResult MeasureDriftFromBase(const LogitsBaseReader& base,
                                 std::span<const ReferenceModel> candidates,
                                 const EvaluationOptions& options) {
  for (const ReferenceModel& candidate : candidates) CheckVocabulary(base, candidate);
  DriftResult result;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Windows windows = WindowsOf(base, candidates[i], options.max_windows);
    std::vector<PositionScore> positions(windows.count * windows.scored());
    EvaluationOptions own = options;
    own.estimate = {};
    own.taken = BytesBeside(base, candidates, i, positions.size());
    own.logits = [&](uint64_t position, std::span<const float> logits) {
      positions[position] = Score(base, position, logits, windows.Target(0, position));
    };
    own.progress = [&](double done) {
      if (!options.progress) return;
      options.progress((static_cast<double>(i) + done) / static_cast<double>(candidates.size()));
    };
    const PerplexityResult run = MeasurePerplexity(candidates[i], windows, own);
    TokenScores scores = Collect(positions);
    Moments losses;
    for (const double loss : scores.reference_losses) losses.Add(loss);
    result.reference = Exponential(losses.Mean());
    result.candidates.push_back(
        Summarize(std::move(scores), candidates[i].source->path().string()));
    result.tokens_scored = run.tokens_scored;
    result.windows = run.windows;
    result.batches += run.batches;
    result.seconds += run.seconds;
    result.product_seconds += run.product_seconds;
  }
  return result;
}

}  // namespace quern::verify
