// Internal to quant/: the definition of the searches of the types with a grid.
//
// A block of 16 or 32 weights is taken without its signs; for each of a number of scales its groups
// of 4 or 8 weights are rounded to levels, and where the levels are no point of the grid, the best
// of the points near it is taken. The scale with the best fit wins. IQ1 (iquant1_ref.h) splits the
// sorted weights into three levels instead. Layouts: iquant_blocks.h.
//
// Contract: as quant/codec.h. Where llama.cpp aborts because no point has a finite error, the first
// is taken. Source: ggml's src/ggml-quants.c, v0.5.0.
#ifndef QUERN_QUANT_IQUANT_REF_H_
#define QUERN_QUANT_IQUANT_REF_H_

#include <cstddef>
#include <cstdint>

#include "quant/iquant_blocks.h"
#include "quant/kquant_blocks.h"

namespace quern::quant {

// What the search does with weights when there is no importance matrix.
enum class PlainWeight : uint8_t { kRefused, kSquare, kSquareAndSigma2 };

// The differences between the searches of IQ2 and IQ3.
struct GridSearch {
  const GridType* type;
  size_t block;        // weights
  float sigma_factor;  // of the mean square in the error's weights
  PlainWeight plain;
  bool even_signs;   // signs are stored as 7
  float zero_block;  // blocks whose largest weight is below are stored as zeros
  int steps;         // scales tried on either side
  float step;
  bool fit_first;          // IQ2_XXS: the scales are around a fitted one, not around the largest
  bool refit_all;          // all groups are rounded again for the winner, not those off the grid
  bool closes_gaps;        // IQ3_S: blocks of zeros take no room, see QuantizeGrid
  bool zeros_if_no_scale;  // a superblock without a scale is all zero bytes
  float d_factor;          // fudge factor of the stored d
};
extern const GridSearch kIQ2XXSSearch, kIQ2XSSearch, kIQ2SSearch, kIQ3XXSSearch, kIQ3SSearch;

inline constexpr size_t kMaxGridBlock = 32;
inline constexpr size_t kMaxGroups = 8;

// A block without its signs, in groups of as many weights as a grid point has.
struct GridBlock {
  const GridSearch* search;
  const Grid* grid;
  size_t n;      // weights
  size_t group;  // weights of a group
  float x[kMaxGridBlock];
  float weights[kMaxGridBlock];
  float roots[kMaxGridBlock];  // of the weights: what the choice among near points goes by
  uint8_t signs[kMaxGridBlock / 8];
  // What the scales are tried around; 0 where the block is stored as zeros.
  float largest;
  float first_scale;  // if none of them is any good

  size_t groups() const { return n / group; }
  int bits() const { return grid->data().bits; }
  int top_level() const { return grid->data().bits == 2 ? 2 : 7; }
  // The largest level counts as.
  float span() const { return static_cast<float>(2 * top_level() + 1); }
  int Level(uint32_t code, size_t k) const {
    return static_cast<int>(code >> (bits() * static_cast<int>(k))) & ((1 << bits()) - 1);
  }
  float InverseScale(int step) const {
    return (span() + static_cast<float>(step) * search->step) / largest;
  }
};

// Points of the grid for the groups of a block, and whether rounding led to them.
struct GridFit {
  float scale;
  uint16_t codes[kMaxGroups];
  bool on_grid[kMaxGroups];
};

// Which of the near points has the least error for a scale; the first, if no error is finite.
uint16_t BestNear(const GridBlock& block, size_t group, float scale, uint32_t code) noexcept;

// A superblock's 256 weights, their importance or null, and their mean square times sigma_factor.
struct GridInput {
  const float* x;
  const float* importance;
  float sigma2;
};

// The steps of the search for one block, of which search, grid, n and group are set.
// Takes the signs off, weighs the errors and sets the largest weight as what the scales are tried
// around.
void PrepareBlock(const float* x, float sigma2, const float* importance, GridBlock* block) noexcept;
// Where the search says so: tries scales around what the largest level would be in a first fit.
void FitFirst(GridBlock* block) noexcept;
void SetFirstFit(float scale, GridBlock* block) noexcept;
// Finds the best of all scales.
void SearchScales(const GridBlock& block, GridFit* fit) noexcept;
// Rounds again, for the scale that was found.
void Refit(const GridBlock& block, GridFit* fit) noexcept;

// All steps for all blocks of a superblock. Fits of blocks without a largest weight stay as they
// are.
using FitBlocksFn = void (*)(const GridInput& input, GridBlock* blocks, size_t count,
                             GridFit* fits);
void FitBlocksReference(const GridInput& input, GridBlock* blocks, size_t count,
                        GridFit* fits) noexcept;

// As QuantizeFn, with a search. In IQ3_S, llama.cpp v0.5.0 does not step over the low bytes and
// signs of a block whose weights are all 0: those of the following blocks move up, and decode
// wrongly. We write the same bytes.
void QuantizeGrid(const GridSearch& search, FitBlocksFn fit, const float* weights, uint8_t* blocks,
                  size_t rows, size_t columns, const float* imatrix) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_IQUANT_REF_H_
