// --target-size and --target-bpw: the types that lose least within a size.
//
// What is minimized: the sum over all tensors of sensitivity (quant/sensitivity.h) times relative
// squared error, |x - y|^2 / |x|^2, each column weighted by its importance where there is a matrix.
// Errors are measured on a sample of rows (type_trials.h), the choice is a knapsack
// (quant/budget.h). Why this sum: docs/quantization.md. The result depends on source, options and
// target alone. Tensors that recipes keep, and those that options decide, stay as they are decided.
#ifndef QUERN_CONVERTERS_SIZE_TARGET_H_
#define QUERN_CONVERTERS_SIZE_TARGET_H_

#include <cstdint>
#include <variant>

#include "converters/output_model.h"
#include "converters/plan.h"
#include "converters/type_trials.h"
#include "formats/core/model.h"

namespace quern::converters {

struct FileBytes {
  uint64_t bytes;  // of the whole file: header, tensors, padding
};
struct BitsPerWeight {
  double bits;  // bits of all tensors over weights of all tensors; the header does not count
};
using SizeTarget = std::variant<FileBytes, BitsPerWeight>;

// A selection for PlanOptions::selection; options.file_type is not used. The file is never larger
// than the target; where it is 1 % smaller or more, a note says why. Throws kUsage, naming the
// smallest and the largest reachable size, where nothing fits, and with --pure; what MakePlan and
// TryTypes throw.
TypeSelection SelectTypes(const ModelSource& source, const OutputModel& model,
                          const PlanOptions& options, const SizeTarget& target,
                          const TypeTrialOptions& trials);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_SIZE_TARGET_H_
