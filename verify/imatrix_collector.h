// Importance matrices by the reference inference: for each matrix of a model, the sums of the
// squares of what enters it, as llama-imatrix collects them.
//
// Windows and the beginning-of-sequence token are those of perplexity; every position of a window
// counts. Matrices are those below "blk.", routers and shared experts included; an expert counts
// the tokens that are routed to it. Sums are in f64, each column's in the order of the tokens: the
// result does not depend on the number of threads. Non-goals: perplexity beside it.
#ifndef QUERN_VERIFY_IMATRIX_COLLECTOR_H_
#define QUERN_VERIFY_IMATRIX_COLLECTOR_H_

#include <cstddef>
#include <span>

#include "formats/imatrix/imatrix_sums.h"
#include "verify/evaluation.h"
#include "verify/reference/model.h"

namespace quern::verify {

using formats::imatrix::ImatrixSums;

struct ImatrixOptions {
  EvaluationOptions evaluation;  // `estimate` is not called
  bool process_output = false;   // output.weight too; the token embedding where that is both
};

struct ImatrixRun {
  size_t windows = 0;
  size_t batches = 0;
  double seconds = 0;
  double product_seconds = 0;
};

// Throws kMismatch where an entry of an earlier file does not fit the model's tensor of that name.
// A single count for a stack of experts becomes one for each.
void RequireFit(const converters::OutputModel& model, ImatrixSums& sums);

// Adds to `sums`, which may hold earlier files' already, an entry for each matrix; datasets and
// chunk_size stay as they are. Throws as Forward and CutWindows, and as RequireFit before any work.
ImatrixRun CollectImatrix(const ReferenceModel& model, std::span<const int32_t> tokens,
                          const ImatrixOptions& options, ImatrixSums& sums);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_IMATRIX_COLLECTOR_H_
