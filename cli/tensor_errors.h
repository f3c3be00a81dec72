// Errors between two tensors, as `diff` and `drift --by-tensor` print them.
#ifndef QUERN_CLI_TENSOR_ERRORS_H_
#define QUERN_CLI_TENSOR_ERRORS_H_

#include <string>

#include "formats/core/json.h"
#include "verify/tensor_error.h"

namespace quern::cli {

// The figures, the worst block, and what is not finite (docs/json.md).
Json TensorErrorToJson(const verify::TensorError& error);

// "relative RMSE 0.0712  RMSE 1.7e-03  cosine 0.997464  max error 0.012 at [3, 17]  worst block
// ..."
std::string TensorErrorText(const verify::TensorError& error);

}  // namespace quern::cli

#endif  // QUERN_CLI_TENSOR_ERRORS_H_
