// Codecs of the types with a grid. How their kernels use lanes:
//
//   signs, weights of the error    eight weights at a time    iquant_prepare-inl.h
//   first fit (IQ2_XXS)            a block per lane           iquant_first_fit-inl.h
//   all scales: rounding, sums     a candidate scale per lane iquant_search-inl.h
//   near points for these          a candidate scale per lane iquant_costs-inl.h
//   choice of the scale            a block per lane           iquant_search-inl.h
//   second rounding                a block per lane           iquant_refit-inl.h
//   near points for this one       a near point per lane      iquant_lanes-inl.h
//   decoding                       eight weights at a time    iquant_decode-inl.h
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/iquant_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "quant/codecs.h"
#include "quant/iquant_decode-inl.h"
#include "quant/iquant_first_fit-inl.h"
#include "quant/iquant_prepare-inl.h"
#include "quant/iquant_ref.h"
#include "quant/iquant_refit-inl.h"
#include "quant/iquant_search-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

template <class Shape>
void FitShape(const GridInput& input, GridBlock* blocks, size_t count, GridFit* fits) {
  const StepSpans spans(*blocks[0].search, blocks[0].span());
  PrepareBlocks(input, blocks, count);
  for (size_t b = 0; b < count; b += kGridLanes) {
    BlockLanes lanes;
    LoadBlocks(blocks + b, lanes);
    if (blocks[b].search->fit_first) FitFirstLanes(lanes, blocks + b);
    FindRegular(blocks + b, lanes);
    SearchLanes<Shape>(spans, lanes, blocks + b, fits + b);
    RefitLanes<Shape>(lanes, blocks + b, fits + b);
  }
}

void FitBlocks(const GridInput& input, GridBlock* blocks, size_t count, GridFit* fits) {
  if (blocks[0].group == 8) {
    FitShape<Shape2>(input, blocks, count, fits);
  } else {
    FitShape<Shape3>(input, blocks, count, fits);
  }
}

void Decode(const GridType& type, const uint8_t* blocks, float* weights, size_t count) {
  if (CodesOf(type.grid).dimension == 8) {
    DecodeGrid<Shape2>(type, blocks, weights, count);
  } else {
    DecodeGrid<Shape3>(type, blocks, weights, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(FitBlocks);
HWY_EXPORT(Decode);

void FitBlocksBest(const GridInput& input, GridBlock* blocks, size_t count, GridFit* fits) {
  HWY_DYNAMIC_DISPATCH(FitBlocks)(input, blocks, count, fits);
}

template <const GridType& kLayout>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Decode)(kLayout, blocks, weights, count);
}

template <const GridType& kLayout>
void DequantizeReference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  DequantizeGrid(kLayout, blocks, weights, count);
}

template <const GridSearch& kSearch>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  QuantizeGrid(kSearch, FitBlocksBest, weights, blocks, rows, columns, imatrix);
}

template <const GridSearch& kSearch>
void QuantizeReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                       const float* imatrix) noexcept {
  QuantizeGrid(kSearch, FitBlocksReference, weights, blocks, rows, columns, imatrix);
}

template <const GridType& kLayout>
void SetUp() {
  GridOf(kLayout.grid);
}

template <const GridType& kLayout, const GridSearch& kSearch>
constexpr Codec GridCodec(TensorType type, bool needs_imatrix) {
  return {type,
          needs_imatrix,
          Quantize<kSearch>,
          Dequantize<kLayout>,
          QuantizeReference<kSearch>,
          DequantizeReference<kLayout>,
          SetUp<kLayout>};
}

}  // namespace

constinit const Codec kIQ2XXSCodec =
    GridCodec<kIQ2XXSLayout, kIQ2XXSSearch>(TensorType::kIQ2_XXS, true);
constinit const Codec kIQ2XSCodec =
    GridCodec<kIQ2XSLayout, kIQ2XSSearch>(TensorType::kIQ2_XS, true);
constinit const Codec kIQ2SCodec = GridCodec<kIQ2SLayout, kIQ2SSearch>(TensorType::kIQ2_S, false);
constinit const Codec kIQ3XXSCodec =
    GridCodec<kIQ3XXSLayout, kIQ3XXSSearch>(TensorType::kIQ3_XXS, false);
constinit const Codec kIQ3SCodec = GridCodec<kIQ3SLayout, kIQ3SSearch>(TensorType::kIQ3_S, false);

}  // namespace quern::quant
#endif  // HWY_ONCE
