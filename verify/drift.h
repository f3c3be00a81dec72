// How far quantized candidates drift from a reference model on a text: perplexities,
// Kullback-Leibler divergence, agreement of the top token, as llama-perplexity --kl-divergence
// defines them.
//
// All models run in lockstep, batch by batch: the reference's states of a batch serve every
// candidate, and logits meet a slab of the vocabulary at a time, so that nothing is written to
// disk.
#ifndef QUERN_VERIFY_DRIFT_H_
#define QUERN_VERIFY_DRIFT_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "verify/evaluation.h"
#include "verify/layer_drift.h"
#include "verify/statistics.h"

namespace quern::verify {

struct Distribution {
  Estimate mean;
  std::vector<double> sorted;  // ascending, one value per scored token
};

struct CandidateDrift {
  Estimate perplexity;
  Estimate log_ratio;  // ln(candidate's perplexity / reference's)
  Estimate ratio;
  Estimate difference;
  double correlation = 0;          // of the two losses of a token
  Distribution kld;                // of the candidate from the reference, in nats
  Distribution probability;        // change of the following token's probability
  Estimate rms_probability;        // root mean square of that
  Estimate top1_agreement;         // part of the positions where both have the same top token
  std::vector<LayerDrift> layers;  // with options.by_layer
};

// What is kept of every scored token, one value per token.
struct TokenScores {
  std::vector<double> losses, reference_losses, kld, probability;
  size_t same_top = 0;

  void Reserve(size_t tokens);
};
inline constexpr uint64_t kTokenScoreBytes = 4 * sizeof(double);

// Throws kNonFinite, naming the candidate's file, where a token's divergence is not finite.
CandidateDrift Summarize(TokenScores scores, const std::string& candidate);

struct DriftResult {
  Estimate reference;  // perplexity
  std::vector<CandidateDrift> candidates;
  size_t tokens_scored = 0;
  size_t windows = 0;
  size_t batches = 0;
  double seconds = 0;
  double product_seconds = 0;
};

// Throws as MeasurePerplexity, and kMismatch where a candidate has another vocabulary, or with
// options.by_layer other layers.
// options.estimate is not called.
DriftResult MeasureDrift(const ReferenceModel& reference,
                         std::span<const ReferenceModel> candidates,
                         std::span<const int32_t> tokens, const EvaluationOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_DRIFT_H_
