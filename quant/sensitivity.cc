#include "quant/sensitivity.h"

#include <algorithm>

#include "quant/recipe_rules.h"

namespace quern::quant {
namespace {

// Per block of the model.
constexpr double kOutput = 4;
constexpr double kTokenEmbedding = 1;

}  // namespace

std::vector<double> Sensitivities(const ModelFacts& facts, std::span<const RecipeTensor> tensors) {
  const double blocks = std::max(facts.block_count, 1u);
  const bool tied = std::none_of(tensors.begin(), tensors.end(), [](const RecipeTensor& tensor) {
    return RoleOf(tensor.name) == Role::kOutput;
  });
  std::vector<double> factors;
  for (const RecipeTensor& tensor : tensors) {
    const Role role = RoleOf(tensor.name);
    if (role == Role::kOutput) {
      factors.push_back(kOutput * blocks);
    } else if (role == Role::kTokenEmbedding) {
      factors.push_back((tied ? kTokenEmbedding + kOutput : kTokenEmbedding) * blocks);
    } else {
      factors.push_back(1);
    }
  }
  return factors;
}

}  // namespace quern::quant
