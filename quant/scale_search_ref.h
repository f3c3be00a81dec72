// The searches behind the K-quants: given a block of weights and their importance, find the scale
// (and min) whose quants give the least weighted error. Scalar, and the definition of the result.
//
// Contract: IEEE single precision in exactly the order written, so that the results equal
// llama.cpp's bit for bit. Every input is defined: NaN quantizes to 0, and values out of range
// follow the wrap-around of NearestInt. Sizes are 8, 16 or 32; nothing is allocated.
// Source for the arithmetic: ggml's src/ggml-quants.c, v0.5.0 (names in brackets below).
#ifndef QUERN_QUANT_SCALE_SEARCH_REF_H_
#define QUERN_QUANT_SCALE_SEARCH_REF_H_

#include <cstddef>
#include <cstdint>

namespace quern::quant {

// Blocks whose largest magnitude is below this count as all zero.
inline constexpr float kZeroBlock = 1e-15f;

// Rounds half to even by adding 1.5 * 2^23; right for |value| < 2^22. Beyond, the low bits of the
// sum's encoding, as in llama.cpp: infinities give -2^22. NaN gives 0.
int NearestInt(float value);

// The inverse scales to try are (rmin + rdelta*k + levels) / (max - min), k = 0..steps.
struct ScaleGrid {
  float rmin;
  float rdelta;
  int steps;
};

enum class ErrorNorm { kSquared, kAbsolute };

struct ScaleMin {
  float scale;
  float min;  // subtracted, so >= 0
};

// w = scale*q - min with q in 0..levels. [make_qkx2_quants, make_qkx3_quants]
struct ScaleMinSearch {
  int levels;
  ScaleGrid grid;
  ErrorNorm norm;
};
ScaleMin FitScaleMin(const ScaleMinSearch& search, size_t n, const float* x, const float* weights,
                     uint8_t* q);

// w = scale*(q - half) with q in 0..2*half-1; 19 inverse scales around half/|max|. [make_qx_quants]
// Zero blocks give scale 0 and q = 0.
float FitScale(int half, size_t n, const float* x, const float* weights, uint8_t* q);

// The same form with weights x^2, found by coordinate descent: each quant in turn moves to where
// the best scale of the others wants it, at most five rounds. [make_q3_quants]
float FitScaleByDescent(int half, size_t n, const float* x, uint8_t* q);

// w = scale*q for non-negative x, q in 0..levels: best of nine inverse scales, then coordinate
// descent. Used for scales and mins of blocks. [make_qp_quants]
float FitPositiveScale(int levels, size_t n, const float* x, const float* weights, uint8_t* q);

}  // namespace quern::quant

#endif  // QUERN_QUANT_SCALE_SEARCH_REF_H_
