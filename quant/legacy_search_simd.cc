#include "quant/legacy_ref.h"
#include "quant/legacy_search.h"
namespace quern::quant {
void QuantizeNibblesWeighted(const NibbleLayout& layout, const float* weights, uint8_t* blocks,
                             size_t rows, size_t columns, const float* imatrix) noexcept {
  if (layout.has_min) {
    if (layout.bits == 4)
      QuantizeNibblesReference<kQ4_1Layout>(weights, blocks, rows, columns, imatrix);
    else
      QuantizeNibblesReference<kQ5_1Layout>(weights, blocks, rows, columns, imatrix);
  } else {
    if (layout.bits == 4)
      QuantizeNibblesReference<kQ4_0Layout>(weights, blocks, rows, columns, imatrix);
    else
      QuantizeNibblesReference<kQ5_0Layout>(weights, blocks, rows, columns, imatrix);
  }
}
}  // namespace quern::quant
