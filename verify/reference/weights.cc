#include "verify/reference/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/core/error.h"
#include "quant/codec.h"
#include "quant/finite.h"
#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

using converters::Expression;
using converters::OutputTensor;

// Bytes of f32 that one thread decodes at a time: its cache's size.
constexpr uint64_t kPieceBytes = uint64_t{256} << 10;

uint64_t RowsIn(uint64_t bytes, const Expression& value) {
  const uint64_t grain = converters::RowGranularity(value);
  const uint64_t rows = bytes / (value.columns() * sizeof(float));
  return std::max(grain, rows / grain * grain);
}

const quant::Codec& CodecOf(const OutputTensor& tensor) {
  const quant::Codec* codec = quant::FindCodec(tensor.value.type);
  if (codec == nullptr || codec->dequantize == nullptr) {
    throw Error(ErrorCode::kUnsupported, {{}, {}, Printable(tensor.name)},
                fmt::format("{} cannot be decoded to floats; convert the model to another type",
                            Name(tensor.value.type)));
  }
  return *codec;
}

// One thread's piece.
void Decode(const ModelSource& source, const OutputTensor& tensor, const quant::Codec& codec,
            uint64_t first, uint64_t count, float* out) {
  thread_local std::vector<uint8_t> bytes;
  const uint64_t columns = tensor.value.columns();
  bytes.resize(count * RowBytes(tensor.value.type, columns).value());
  converters::EvaluateRows(source, tensor.value, first, count, bytes);
  codec.dequantize(bytes.data(), out, count * columns);
  if (const auto at = quant::FirstNonFinite({out, count * columns})) {
    throw Error(ErrorCode::kNonFinite, {source.path().string(), {}, Printable(tensor.name)},
                fmt::format("weight {} of row {} is NaN or infinite; the file is damaged",
                            *at % columns, first + *at / columns));
  }
}

}  // namespace

Weights::Weights(const ModelSource& source, uint64_t slab_bytes, Products& products)
    : source_(source), slab_bytes_(slab_bytes), products_(products) {}

void Weights::Read(const OutputTensor& tensor, uint64_t first, uint64_t count, float* out) const {
  const quant::Codec& codec = CodecOf(tensor);
  const uint64_t columns = tensor.value.columns();
  ParallelRanges(
      products_.threads(), count, RowsIn(kPieceBytes, tensor.value), [&](size_t begin, size_t end) {
        Decode(source_, tensor, codec, first + begin, end - begin, out + begin * columns);
      });
}

void Weights::Gather(const OutputTensor& tensor, std::span<const int32_t> rows, float* out) const {
  const quant::Codec& codec = CodecOf(tensor);
  const uint64_t columns = tensor.value.columns();
  constexpr size_t kGrain = 16;
  ParallelRanges(products_.threads(), rows.size(), kGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      Decode(source_, tensor, codec, static_cast<uint64_t>(rows[i]), 1, out + i * columns);
    }
  });
}

std::vector<float> Weights::Vector(const OutputTensor& tensor) const {
  std::vector<float> values(tensor.value.rows() * tensor.value.columns());
  Read(tensor, 0, tensor.value.rows(), values.data());
  return values;
}

uint64_t Weights::SlabRows(const Linear& linear) const {
  return std::min(linear.rows, RowsIn(slab_bytes_, linear.weight->value));
}

void Weights::AddBias(const Linear& linear, uint64_t first, uint64_t count, float* y, size_t tokens,
                      size_t ldy) const {
  const std::vector<float> bias = Vector(*linear.bias);
  const float* values = bias.data() + linear.first + first;
  constexpr size_t kGrain = 64;
  ParallelRanges(products_.threads(), tokens, kGrain, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) AddScaled(values, 1, y + t * ldy, count);
  });
}

const float* Weights::Rows(const Linear& linear, uint64_t first, uint64_t count) {
  const uint64_t columns = linear.columns;
  auto at = kept_.find({linear.weight, linear.first});
  const uint64_t bytes = linear.rows * columns * sizeof(float);
  if (at == kept_.end() && bytes <= keep_bytes_) {
    Matrix whole(linear.rows, columns);
    Read(*linear.weight, linear.first, linear.rows, whole.data());
    keep_bytes_ -= bytes;
    at = kept_.emplace(std::pair{linear.weight, linear.first}, std::move(whole)).first;
  }
  if (at != kept_.end()) return at->second.row(first);
  float* slab = products_.Slab(count * columns);
  Read(*linear.weight, linear.first + first, count, slab);
  return slab;
}

void Weights::ApplySlab(const Linear& linear, uint64_t first, uint64_t count, const float* x,
                        size_t tokens, size_t ldx, float* y, size_t ldy) {
  products_.Multiply(x, tokens, ldx, Rows(linear, first, count), count, linear.columns, y, ldy);
  if (linear.bias) AddBias(linear, first, count, y, tokens, ldy);
}

void Weights::Apply(const Linear& linear, const float* x, size_t tokens, size_t ldx, float* y,
                    size_t ldy) {
  Show(linear, x, tokens, ldx);
  const uint64_t slab = SlabRows(linear);
  for (uint64_t first = 0; first < linear.rows; first += slab) {
    const uint64_t count = std::min(slab, linear.rows - first);
    ApplySlab(linear, first, count, x, tokens, ldx, y + first, ldy);
  }
}

void Weights::WillNeed(const Linear& linear) const {
  if (!linear || kept_.contains({linear.weight, linear.first})) return;
  converters::Prefetch(source_, linear.weight->value, linear.first, linear.rows);
}

}  // namespace quern::verify
