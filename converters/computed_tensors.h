// Tensors that are not in the source: their values come from the config.
#ifndef QUERN_CONVERTERS_COMPUTED_TENSORS_H_
#define QUERN_CONVERTERS_COMPUTED_TENSORS_H_

#include <vector>

#include "converters/architecture.h"
#include "converters/hyperparameters.h"

namespace quern::converters {

// Base of the frequencies that llama3 scaling bends, per pair of a head's dimensions, in single
// precision and in the order of operations of the formula's published implementation: the values
// end up in the file, so every rounding counts.
// Throws kBadValue where the config's factors make no sense.
std::vector<float> Llama3RopeFactors(const Hyperparameters& h);

// The list of numbers that the rule's source names in the config. Throws kMissing, kBadValue.
std::vector<float> ListedValues(const TensorRule& rule, const Hyperparameters& h);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_COMPUTED_TENSORS_H_
