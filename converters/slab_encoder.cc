#include "converters/slab_encoder.h"

#include <fmt/format.h>

#include <algorithm>

#include "quant/codec.h"
#include "quant/finite.h"

namespace quern::converters {
namespace {

// Weights that are decoded and quantized at a time: their f32 form stays in the L2 cache.
constexpr uint64_t kTileWeights = 32 << 10;

// Rows of one matrix of a tensor that may be a stack of them (experts), which share importance.
uint64_t MatrixRows(const Shape& shape) {
  return shape.size() < 2 ? 1 : std::max<uint64_t>(shape[shape.size() - 2], 1);
}

void RequireFinite(std::span<const float> weights, uint64_t first, TensorType type,
                   const SlabEncoder::NonFinite& non_finite) {
  if (const auto at = quant::FirstNonFinite(weights)) {
    non_finite(
        fmt::format("weight {} is not a finite number in {}; the model is damaged or "
                    "needs a wider type (--allow-nonfinite goes on)",
                    first + *at, Name(type)));
  }
}

void RequireFitsF16(std::span<const float> weights, uint64_t first,
                    const SlabEncoder::NonFinite& non_finite) {
  constexpr float kLimit = 65520.0f;  // rounds to infinity in F16
  const auto at = std::find_if(weights.begin(), weights.end(),
                               [](float weight) { return weight >= kLimit || weight <= -kLimit; });
  if (at == weights.end()) return;
  non_finite(fmt::format("weight {} is {} and does not fit F16; use BF16 or F32",
                         first + static_cast<uint64_t>(at - weights.begin()), *at));
}

}  // namespace

uint64_t SlabEncoder::ScratchBytes() { return kTileWeights * 3 * sizeof(float); }

void SlabEncoder::Encode(const OutputTensor& tensor, uint64_t first, uint64_t rows,
                         std::span<const uint8_t> source, std::span<Encoding> encodings,
                         const NonFinite& non_finite) {
  const uint64_t columns = tensor.value.columns();
  const uint64_t source_row = *RowBytes(tensor.value.type, columns);
  const quant::Codec& decoder = *quant::FindCodec(tensor.value.type);
  for (Encoding& encoding : encodings) {
    const auto set_up = quant::FindCodec(encoding.planned->type)->set_up;
    if (set_up != nullptr) set_up();
    encoding.blocks.resize(rows * *RowBytes(encoding.planned->type, columns));
    encoding.errors.Start(first);
  }
  const uint64_t tile_rows = std::clamp<uint64_t>(kTileWeights / columns, 1, rows);
  const uint64_t matrix_rows = MatrixRows(tensor.value.shape);
  weights_.resize(tile_rows * columns);
  for (uint64_t row = 0, step = 0; row < rows; row += step) {
    const uint64_t at = first + row;
    step = std::min({tile_rows, rows - row, matrix_rows - at % matrix_rows});
    decoder.dequantize(source.data() + row * source_row, weights_.data(), step * columns);
    const Tile tile = {.weights = std::span(weights_).first(step * columns),
                       .columns = columns,
                       .first = at * columns,
                       .matrix = at / matrix_rows,
                       .row = row};
    RequireFinite(tile.weights, tile.first, tensor.value.type, non_finite);
    via_.reset();
    for (Encoding& encoding : encodings) EncodeTile(tensor, tile, encoding, non_finite);
  }
}

void SlabEncoder::EncodeTile(const OutputTensor& tensor, const Tile& tile, Encoding& encoding,
                             const NonFinite& non_finite) {
  const PlannedTensor& planned = *encoding.planned;
  const auto weights = planned.via ? Rounded(tile, *planned.via, non_finite) : tile.weights;
  const float* importance = nullptr;
  if (!planned.importance.empty()) {
    importance = planned.importance.data() + tile.matrix * tile.columns;
  }
  uint8_t* blocks = encoding.blocks.data() + tile.row * *RowBytes(planned.type, tile.columns);
  quant::FindCodec(planned.type)
      ->quantize(weights.data(), blocks, weights.size() / tile.columns, tile.columns, importance);
  if (measure_) {
    encoding.errors.Measure(tile.weights, planned.type, blocks, tile.columns, importance);
  }
  if (planned.type == TensorType::kF16 && tensor.value.type != TensorType::kF16) {
    RequireFitsF16(weights, tile.first, non_finite);
  }
}

std::span<const float> SlabEncoder::Rounded(const Tile& tile, TensorType via,
                                            const NonFinite& non_finite) {
  const size_t count = tile.weights.size();
  if (via_ != via) {
    const quant::Codec& codec = *quant::FindCodec(via);
    half_.resize(*RowBytes(via, count));
    rounded_.resize(count);
    codec.quantize(tile.weights.data(), half_.data(), 1, count, nullptr);
    codec.dequantize(half_.data(), rounded_.data(), count);
    RequireFinite(rounded_, tile.first, via, non_finite);
    via_ = via;
  }
  return std::span<const float>(rounded_).first(count);
}

}  // namespace quern::converters
