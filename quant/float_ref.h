// Internal to quant/: the definition of the codecs F32, F16, BF16 and F64, in the signatures of
// quant/codec.h. Rows need no particular length, and an importance matrix is ignored.
//
// F32 is copied bit by bit. F16 and BF16 convert as blocks.h says. F64 is decoded only: rounded to
// nearest even, and beyond the largest f32 to infinity.
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
