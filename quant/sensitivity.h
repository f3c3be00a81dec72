// How much a tensor's relative error costs the model, as far as its name tells.
//
// The scale: 1 for a matrix inside a block. A model of L blocks adds 2 L contributions to one
// stream, so noise in one of them is diluted by all others, while noise in the output matrix meets
// every logit and noise in the token embeddings is there from the start. Measured on
// testdata/kjv-4m (L = 4; divergence of the predictions per relative squared error, one tensor at
// Q3_K at a time): the mean of block matrices 0.037, output 0.61 = 4.1 L times that, token
// embeddings 0.21 = 1.4 L times. docs/quantization.md has the table.
#ifndef QUERN_QUANT_SENSITIVITY_H_
#define QUERN_QUANT_SENSITIVITY_H_

#include <span>
#include <vector>

#include "quant/recipe.h"

namespace quern::quant {

// One factor for the relative squared error of each tensor. Token embeddings that serve as output
// as well (a model without output.weight) count as both.
std::vector<double> Sensitivities(const ModelFacts& facts, std::span<const RecipeTensor> tensors);

}  // namespace quern::quant

#endif  // QUERN_QUANT_SENSITIVITY_H_
