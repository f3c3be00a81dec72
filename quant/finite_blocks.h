// Looks for NaN and infinity in stored weights, without decoding them: in plain floats, and in the
// scales and mins of blocks, which alone can make the weights of a block not finite.
#ifndef QUERN_QUANT_FINITE_BLOCKS_H_
#define QUERN_QUANT_FINITE_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "formats/core/tensor_type.h"

namespace quern::quant {

// Whether the type holds such values at all: floats and every block type do, integers do not.
bool CanBeNonFinite(TensorType type);

// Index of the first block (a plain type's blocks are its elements) with a scale, min or value that
// is NaN or infinite; absent where there is none. `blocks` are whole blocks, little-endian. What
// counts is what ggml_validate_row_data of llama.cpp refuses: of MXFP4 the exponent 255.
std::optional<size_t> FirstNonFiniteBlock(TensorType type, std::span<const uint8_t> blocks);

}  // namespace quern::quant

#endif  // QUERN_QUANT_FINITE_BLOCKS_H_
