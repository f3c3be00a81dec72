// Scalar K-quants: the definition that the vector kernels must equal, and their way out for
// superblocks that a vector kernel does not take (non-finite or extreme weights).
//
// Contract: as quant/codec.h. Weights that are not finite give a defined, meaningless result.
#ifndef QUERN_QUANT_KQUANT_REF_H_
#define QUERN_QUANT_KQUANT_REF_H_

#include <cstddef>
#include <cstdint>

#include "quant/kquant_blocks.h"

namespace quern::quant {

// One superblock: 256 weights, and null or 256 importance values. For each of the five layouts.
template <class Block>
void QuantizeSuperblock(const float* x, const float* importance, Block* block) noexcept;

// Many, as QuantizeFn and DequantizeFn. For each of the five layouts.
template <class Block>
void QuantizeKReference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                        const float* imatrix) noexcept;
template <class Block>
void DequantizeKReference(const uint8_t* blocks, float* weights, size_t count) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_KQUANT_REF_H_
