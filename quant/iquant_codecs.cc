#include "quant/codecs.h"
#include "quant/iquant_blocks.h"
#include "quant/nonlinear_ref.h"

namespace quern::quant {
namespace {

template <const GridType& kLayout>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  DequantizeGrid(kLayout, blocks, weights, count);
}

template <const GridType& kLayout>
constexpr Codec GridCodec(TensorType type, bool needs_imatrix) {
  return {type, needs_imatrix, nullptr, Dequantize<kLayout>, nullptr, Dequantize<kLayout>};
}

}  // namespace

constinit const Codec kIQ1SCodec = GridCodec<kIQ1SLayout>(TensorType::kIQ1_S, true);
constinit const Codec kIQ1MCodec = GridCodec<kIQ1MLayout>(TensorType::kIQ1_M, false);
constinit const Codec kIQ2XXSCodec = GridCodec<kIQ2XXSLayout>(TensorType::kIQ2_XXS, true);
constinit const Codec kIQ2XSCodec = GridCodec<kIQ2XSLayout>(TensorType::kIQ2_XS, true);
constinit const Codec kIQ2SCodec = GridCodec<kIQ2SLayout>(TensorType::kIQ2_S, false);
constinit const Codec kIQ3XXSCodec = GridCodec<kIQ3XXSLayout>(TensorType::kIQ3_XXS, false);
constinit const Codec kIQ3SCodec = GridCodec<kIQ3SLayout>(TensorType::kIQ3_S, false);
constinit const Codec kIQ4NLCodec = {TensorType::kIQ4_NL,    false,
                                     QuantizeIQ4NLReference, DequantizeIQ4NLReference,
                                     QuantizeIQ4NLReference, DequantizeIQ4NLReference};
constinit const Codec kIQ4XSCodec = {TensorType::kIQ4_XS,    false,
                                     QuantizeIQ4XSReference, DequantizeIQ4XSReference,
                                     QuantizeIQ4XSReference, DequantizeIQ4XSReference};

}  // namespace quern::quant
