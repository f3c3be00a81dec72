// Internal to quant/: the vector form of the weighted search of legacy_ref.h.
#ifndef QUERN_QUANT_LEGACY_SEARCH_H_
#define QUERN_QUANT_LEGACY_SEARCH_H_

#include <cstddef>
#include <cstdint>

#include "quant/blocks.h"

namespace quern::quant {

// As QuantizeNibblesReference<layout> with an importance matrix, which must not be null.
void QuantizeNibblesWeighted(const NibbleLayout& layout, const float* weights, uint8_t* blocks,
                             size_t rows, size_t columns, const float* imatrix) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_LEGACY_SEARCH_H_
