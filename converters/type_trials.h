// Tries types on a sample of each tensor's rows: what error would each type have?
//
// The sample is runs of rows at fixed places, spread evenly over the tensor, so the figures depend
// on the source alone; small tensors are taken whole. Each row passes through what the executor
// would do with it: transform, f32, rounding through `via`, blocks with importance; the blocks are
// decoded and compared with the f32. Memory is O(rows of one run x threads).
// Non-goals: choosing (size_target.h).
#ifndef QUERN_CONVERTERS_TYPE_TRIALS_H_
#define QUERN_CONVERTERS_TYPE_TRIALS_H_

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "converters/executor.h"
#include "converters/output_model.h"
#include "formats/core/model.h"
#include "quant/error_statistics.h"

namespace quern::converters {

struct TypeTrial {
  const OutputTensor* tensor = nullptr;
  std::span<const float> importance;  // as PlannedTensor::importance
  std::optional<TensorType> via;      // as PlannedTensor::via
  std::vector<TensorType> types;      // all with a codec that can write, and blocks that fit
};

struct TypeTrialOptions {
  int threads = 0;
  std::function<void(const Progress&)> progress;  // called by one thread at a time
};

// One result per trial and type, of the sampled rows. Rows with NaN or infinity are left out: the
// executor reports them. Throws what reading throws.
std::vector<std::vector<quant::ErrorStatistics>> TryTypes(const ModelSource& source,
                                                          std::span<const TypeTrial> trials,
                                                          const TypeTrialOptions& options);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TYPE_TRIALS_H_
