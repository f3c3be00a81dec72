// Perplexity of a text under a model, by the reference inference.
#ifndef QUERN_VERIFY_PERPLEXITY_H_
#define QUERN_VERIFY_PERPLEXITY_H_

#include <cstdint>
#include <span>

#include "verify/evaluation.h"
#include "verify/statistics.h"

namespace quern::verify {

struct PerplexityResult {
  Estimate perplexity;
  Estimate mean_loss;  // -ln p of a scored token
  size_t tokens_scored = 0;
  size_t windows = 0;
  size_t batches = 0;
  double seconds = 0;
  double product_seconds = 0;  // of matrix products, within the above
};

// Throws as Forward and CutWindows.
PerplexityResult MeasurePerplexity(const ReferenceModel& model, std::span<const int32_t> tokens,
                                   const EvaluationOptions& options);

// Of windows that were cut before; the options' context, max_windows and bos are not looked at.
PerplexityResult MeasurePerplexity(const ReferenceModel& model, const Windows& windows,
                                   const EvaluationOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_PERPLEXITY_H_
