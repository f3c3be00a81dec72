// The way back: from a GGUF's tensors to those of a Hugging Face checkpoint.
//
// The rules of an architecture file read backwards: each source name with the expression over GGUF
// tensors that undoes the rule's steps. Quantized tensors are decoded. Tensors that are computed
// when converting are left out; the config says them (config_inverse.h).
#ifndef QUERN_CONVERTERS_INVERSE_H_
#define QUERN_CONVERTERS_INVERSE_H_

#include <vector>

#include "converters/architecture.h"
#include "converters/hyperparameters.h"
#include "converters/output_model.h"
#include "formats/core/model.h"

namespace quern::converters {

// In the order of the GGUF's tensors; what one of them is split into stands together. Throws
// kMissing (listing every tensor that the architecture needs and the GGUF lacks), kUnexpected
// (listing those that no rule makes), kBadShape, kBadValue.
std::vector<OutputTensor> InvertTensors(const ModelSource& gguf, const Architecture& architecture,
                                        const Hyperparameters& hyperparameters);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_INVERSE_H_
