// Looks for NaN and infinity among weights, before they spoil a scale.
#ifndef QUERN_QUANT_FINITE_H_
#define QUERN_QUANT_FINITE_H_

#include <cstddef>
#include <optional>
#include <span>

namespace quern::quant {

// Position of the first weight that is NaN or infinite; absent where all are finite.
std::optional<size_t> FirstNonFinite(std::span<const float> weights);

}  // namespace quern::quant

#endif  // QUERN_QUANT_FINITE_H_
