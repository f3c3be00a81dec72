#include "quant/codecs.h"
#include "quant/iquant_blocks.h"
#include "quant/iquant_ref.h"

namespace quern::quant {
namespace {

template <const GridType& kLayout>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  DequantizeGrid(kLayout, blocks, weights, count);
}

template <const GridSearch& kSearch>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  QuantizeGridReference(kSearch, weights, blocks, rows, columns, imatrix);
}

template <const GridType& kLayout, const GridSearch& kSearch>
constexpr Codec GridCodec(TensorType type, bool needs_imatrix) {
  return {type,
          needs_imatrix,
          Quantize<kSearch>,
          Dequantize<kLayout>,
          Quantize<kSearch>,
          Dequantize<kLayout>};
}

}  // namespace

constinit const Codec kIQ1SCodec = {TensorType::kIQ1_S,    true,
                                    QuantizeIQ1SReference, Dequantize<kIQ1SLayout>,
                                    QuantizeIQ1SReference, Dequantize<kIQ1SLayout>};
constinit const Codec kIQ1MCodec = {TensorType::kIQ1_M,    false,
                                    QuantizeIQ1MReference, Dequantize<kIQ1MLayout>,
                                    QuantizeIQ1MReference, Dequantize<kIQ1MLayout>};
constinit const Codec kIQ2XXSCodec =
    GridCodec<kIQ2XXSLayout, kIQ2XXSSearch>(TensorType::kIQ2_XXS, true);
constinit const Codec kIQ2XSCodec =
    GridCodec<kIQ2XSLayout, kIQ2XSSearch>(TensorType::kIQ2_XS, true);
constinit const Codec kIQ2SCodec = GridCodec<kIQ2SLayout, kIQ2SSearch>(TensorType::kIQ2_S, false);
constinit const Codec kIQ3XXSCodec =
    GridCodec<kIQ3XXSLayout, kIQ3XXSSearch>(TensorType::kIQ3_XXS, false);
constinit const Codec kIQ3SCodec = GridCodec<kIQ3SLayout, kIQ3SSearch>(TensorType::kIQ3_S, false);

}  // namespace quern::quant
