// The door of the room: rows of float to blocks of bytes and back, for every storable type.
//
// A codec has two implementations with equal results, bit for bit: the scalar reference, which is
// the definition, and the vector kernel, which runs on the best instruction set of this CPU
// (Google Highway, chosen at run time). Both give llama.cpp's bytes. Rules that hold for all:
// IEEE single precision in the scalar order, no fused multiply-add, round half to even where the
// format rounds with nearest_int and half away from zero where it rounds with roundf, f16 scales
// rounded to nearest even. All functions are pure, noexcept and thread-safe.
// Non-goals: files, tensor names, the choice of a type (recipe.h).
#ifndef QUERN_QUANT_CODEC_H_
#define QUERN_QUANT_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/core/tensor_type.h"

namespace quern::quant {

// Quantizes `rows` rows of `columns` weights each (row-major, contiguous; columns a multiple of the
// block) to rows x RowBytes(type, columns) bytes. `imatrix` is null or one importance value per
// column, the same for all rows.
using QuantizeFn = void (*)(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                            const float* imatrix);
// Decodes `count` weights, a multiple of the block.
using DequantizeFn = void (*)(const uint8_t* blocks, float* weights, size_t count);

struct Codec {
  TensorType type;
  bool needs_imatrix;   // quantizing without one is refused by llama.cpp and by us
  QuantizeFn quantize;  // the vector kernels; null where the type is only decoded
  DequantizeFn dequantize;
  QuantizeFn quantize_reference;
  DequantizeFn dequantize_reference;
  // Builds the tables that quantizing needs, once for all threads; may throw std::bad_alloc. Null
  // where there are none. Who quantizes without it has them built then, and the process ended if
  // there is no memory for them.
  void (*set_up)() = nullptr;
};

// Every codec of this build, in the order of TensorType.
std::span<const Codec> Codecs();

// Null where there is none (integers, complex numbers, ...).
const Codec* FindCodec(TensorType type);

}  // namespace quern::quant

#endif  // QUERN_QUANT_CODEC_H_
