// From a source's tensors to GGUF's: names, transforms, order, completeness.
//
// Every source tensor meets exactly one rule or is ignored by name. The order is llama.cpp's:
// generated tensors, then the source's order, with a stack where the last of its group's tensors
// stands.
#ifndef QUERN_CONVERTERS_MAPPER_H_
#define QUERN_CONVERTERS_MAPPER_H_

#include <string>
#include <vector>

#include "converters/architecture.h"
#include "converters/hyperparameters.h"
#include "converters/naming.h"
#include "converters/output_model.h"
#include "formats/core/model.h"

namespace quern::converters {

struct MappedTensors {
  std::vector<OutputTensor> tensors;
  TensorType auto_type = TensorType::kF16;
  std::vector<std::string> notes;
};

// Throws kUnexpected (listing every tensor that no rule takes, and with them those that are
// missing), kMissing (listing all), kDuplicate, kBadShape, kBadValue (a shape that contradicts a
// hyperparameter, naming both).
MappedTensors MapTensors(const ModelSource& source, const Architecture& architecture,
                         const Hyperparameters& hyperparameters);

// Whether llama.cpp's converter keeps a tensor of this name and shape in F32 whatever the output
// type is: vectors and scalars, norms, routers, position and token-type embeddings, convolutions of
// state-space models, and what is no weight. (ggml-org/llama.cpp: conversion/base.py,
// prepare_tensors)
bool KeptInF32(std::string_view name, const Shape& shape);

ParameterCounts CountParameters(const std::vector<OutputTensor>& tensors);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_MAPPER_H_
