// Internal to quant/: the definition of the codecs F32, F16, BF16 and F64 (quant/codec.h gives the
// signatures; columns need not be a multiple of anything, an importance matrix is ignored).
//
// F32 and F64 -> F32 of a NaN: F32 is copied bit by bit; F64 is rounded to nearest even, beyond
// FLT_MAX to infinity. F64 is decoded only.
#ifndef QUERN_QUANT_FLOAT_REF_H_
#define QUERN_QUANT_FLOAT_REF_H_

#include <cstddef>
#include <cstdint>

namespace quern::quant {

void CopyF32(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
             const float* imatrix) noexcept;
void CopyF32Back(const uint8_t* blocks, float* weights, size_t count) noexcept;

void EncodeF16Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                        const float* imatrix) noexcept;
void DecodeF16Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;

void EncodeBF16Reference(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                         const float* imatrix) noexcept;
void DecodeBF16Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;

void DecodeF64Reference(const uint8_t* blocks, float* weights, size_t count) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_FLOAT_REF_H_
