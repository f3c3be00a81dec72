// Internal to quant/: tensors that are never quantized, whatever the file type says.
//
// The list is llama.cpp v0.5.0's (measured with its library); it goes by name and by the number of
// dimensions and is the same for every architecture.
#ifndef QUERN_QUANT_KEPT_TENSORS_H_
#define QUERN_QUANT_KEPT_TENSORS_H_

#include <optional>
#include <string_view>

#include "formats/core/model.h"

namespace quern::quant {

// Why the tensor keeps its type ("a vector, not a matrix"); absent where it may be quantized.
std::optional<std::string_view> ReasonToKeep(std::string_view name, const Shape& shape);

}  // namespace quern::quant

#endif  // QUERN_QUANT_KEPT_TENSORS_H_
