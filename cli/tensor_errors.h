// Errors between two tensors, as `diff` and `drift --by-tensor` print them.
#ifndef QUERN_CLI_TENSOR_ERRORS_H_
#define QUERN_CLI_TENSOR_ERRORS_H_

#include <string>
#include <vector>

#include "formats/core/json.h"
#include "verify/model_diff.h"
#include "verify/tensor_error.h"

namespace quern::cli {

// The figures, the worst block, and what is not finite (docs/json.md).
Json TensorErrorToJson(const verify::TensorError& error);

// "relative RMSE 0.0712  RMSE 1.7e-03  cosine 0.997464  max error 0.012 at [3, 17]  worst block
// ..."
std::string TensorErrorText(const verify::TensorError& error);

// What `drift --by-tensor` says of a candidate (b) and its reference (a): all tensors in order, and
// a table of those that differ, the largest relative error first.
Json WeightErrorsToJson(const std::vector<verify::TensorDiff>& tensors);
std::string WeightErrorsText(const std::vector<verify::TensorDiff>& tensors);

}  // namespace quern::cli

#endif  // QUERN_CLI_TENSOR_ERRORS_H_
