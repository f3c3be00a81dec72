// Internal to quant/: what the scalar and the vector search of IQ1_S and IQ1_M share.
//
// The weights of a block, sorted, are split into three levels: of all splits, and of the shifts of
// the levels (for IQ1_M one per half of the block), the one with the best fit wins. Groups of 8
// whose levels are no point of the grid then take the best of the points near. Layouts:
// iquant_blocks.h.
//
// Contract: as quant/codec.h. Source: ggml's src/ggml-quants.c, v0.5.0.
#ifndef QUERN_QUANT_IQUANT1_REF_H_
#define QUERN_QUANT_IQUANT1_REF_H_

#include <cstddef>
#include <cstdint>

#include "quant/iquant_blocks.h"
#include "quant/kquant_blocks.h"

namespace quern::quant {

inline constexpr float kIQ1Delta = 0.125f;
// What the levels are worth; the fourth is never used.
inline constexpr float kIQ1Values[2][4] = {
    {-1 + kIQ1Delta, kIQ1Delta, 1 + kIQ1Delta, 0},   // raised
    {-1 - kIQ1Delta, -kIQ1Delta, 1 - kIQ1Delta, 0},  // lowered
};

// What IQ1_S and IQ1_M differ in.
struct IQ1Type {
  const GridType* layout;
  size_t block;       // weights
  bool split_halves;  // a shift for each half of a block, and sums in another order
  float zero_block;   // blocks whose largest weight is below are stored as zeros
  float d_factor;     // fudge factor of the stored d
};
extern const IQ1Type kIQ1SType, kIQ1MType;

inline constexpr int kBothLowered = 3;

struct IQ1Fit {
  float scale;
  int lowered;  // bit h: half h of the block
  uint16_t codes[4];

  // Whether group k of the 8 weights of a block of n is lowered.
  bool Lowered(size_t n, size_t k) const { return (lowered >> (8 * k / (n / 2)) & 1) != 0; }
};

struct IQ1Superblock {
  const float* x;
  const float* importance;                 // or null
  alignas(64) float weights[kSuperblock];  // of the errors
  IQ1Fit fits[kSuperblock / 16];
  uint8_t scales[kSuperblock / 16];
  float d;
};

// Which of the points near `code` has the least error for 8 weights, for a scale and the values of
// the levels; the first, if no error is finite.
uint16_t BestNearIQ1(const Grid& grid, const float* x, const float* weights, const float* values,
                     float scale, uint32_t code) noexcept;

// What is done for superblocks whose x and importance are given, at most kIQ1AtOnce.
struct IQ1Search {
  // Finds the weights of the errors and the best fits.
  void (*fit)(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count);
  // Once the scales are known, fits d to all of the superblock, if it can be. Null for IQ1_S.
  void (*refit)(IQ1Superblock* work, size_t count);
};
inline constexpr size_t kIQ1AtOnce = 4;

// The scalar search, and its choice for one block.
extern const IQ1Search kIQ1SReference, kIQ1MReference;
void FitIQ1Block(const IQ1Type& type, const Grid& grid, size_t block, IQ1Superblock* work) noexcept;

// As QuantizeFn, with a search.
void QuantizeIQ1(const IQ1Type& type, const IQ1Search& search, const float* weights,
                 uint8_t* blocks, size_t rows, size_t columns, const float* imatrix) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_IQUANT1_REF_H_
