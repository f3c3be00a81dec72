// Byte layouts of the types with a grid (IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S).
//
// Contract: all are superblocks of 256 weights and store the same things, GridQuants, in different
// places. pack and unpack are inverses for values in range; unpack is total. Blocks need no
// alignment. Source: ggml's src/ggml-common.h (layouts), v0.5.0. The grids: iquant_grids.h.
#ifndef QUERN_QUANT_IQUANT_BLOCKS_H_
#define QUERN_QUANT_IQUANT_BLOCKS_H_

#include <cstddef>
#include <cstdint>

#include "quant/iquant_grids.h"

namespace quern::quant {

// A superblock: w = d * (offset + step*scale) * factor * (value of the level + shift), negated
// where a sign says so. Offset, step, factor and values are the type's, see GridType.
struct GridQuants {
  uint16_t d;           // f16
  uint16_t index[64];   // grid points, in the order of the weights: 32 of 8 weights, or 64 of 4
  uint8_t signs[32];    // bit k of byte j: weight 8j+k is negative; not IQ1
  uint8_t scale[16];    // of each run of 16 or 32 weights
  uint8_t lowered[32];  // IQ1, of each 8 weights: 1 if the shift is -1/8, otherwise it is +1/8
};

// Below, i[j] = index[j], s[j] = scale[j], n[j] = signs[j], and "7 signs" are the signs of 8
// weights of which an even number is negative: bits 0..6, bit 7 being their parity.
//
// IQ2_XXS: 66 bytes, 2.0625 bpw; grid of 256 points of 8 weights, scales of 32 weights.
//  offset size field  content
//       0    2 d      f16
//       2   64 qs     8 x 8 bytes: i[4b..4b+3], then 32 bits: 4 x 7 signs, s[b] in bits 28..31
// IQ2_XS: 74 bytes, 2.3125 bpw; grid of 512 points of 8, scales of 16.
//       0    2 d      f16
//       2   64 qs     32 x 16 bits: i[j] in bits 0..8, 7 signs above
//      66    8 scales byte b: low nibble s[2b], high nibble s[2b+1]
// IQ2_S: 82 bytes, 2.5625 bpw; grid of 1024 points of 8, scales of 16.
//       0    2 d      f16
//       2   32 qs     low bytes of i
//      34   32 signs  n
//      66    8 qh     byte b: bits 2k,2k+1 = bits 8,9 of i[4b+k]
//      74    8 scales as IQ2_XS
// IQ3_XXS: 98 bytes, 3.0625 bpw; grid of 256 points of 4, scales of 32.
//       0    2 d      f16
//       2   64 qs     i
//      66   32 tail   8 x 32 bits: 4 x 7 signs, s[b] in bits 28..31
// IQ3_S: 110 bytes, 3.4375 bpw; grid of 512 points of 4, scales of 32.
//       0    2 d      f16
//       2   64 qs     low bytes of i
//      66    8 qh     byte b: bit k = bit 8 of i[8b+k]
//      74   32 signs  n
//     106    4 scales byte b: low nibble s[2b], high nibble s[2b+1]
// IQ1_S: 50 bytes, 1.5625 bpw; grid of 2048 points of 8, scales and shifts of 32.
//       0    2 d      f16
//       2   32 qs     low bytes of i
//      34   16 qh     8 x 16 bits: bits 8..10 of i[4b+k] in bits 3k..3k+2, s[b] in 12..14, lowered
//                     in bit 15
// IQ1_M: 56 bytes, 1.75 bpw; grid of 2048 points of 8, scales of 16, shifts of 8.
//       0   32 qs     low bytes of i
//      32   16 qh     nibble k of byte b: bits 8..10 of i[2b+k], and lowered[2b+k] in bit 3
//      48    8 scales 4 x 16 bits: s[4b+k] in bits 3k..3k+2; bits 4b..4b+3 of d in 12..15
struct GridType {
  GridId grid;
  size_t bytes;
  size_t scaled;  // weights that share a scale
  float offset;
  float step;
  float factor;
  float values[8];  // of the levels
  float shift;
  void (*pack)(const GridQuants& quants, uint8_t* block);
  void (*unpack)(const uint8_t* block, GridQuants* quants);
};
extern const GridType kIQ1SLayout, kIQ1MLayout, kIQ2XXSLayout, kIQ2XSLayout, kIQ2SLayout,
    kIQ3XXSLayout, kIQ3SLayout;

// As DequantizeFn.
void DequantizeGrid(const GridType& type, const uint8_t* blocks, float* weights,
                    size_t count) noexcept;

}  // namespace quern::quant

#endif  // QUERN_QUANT_IQUANT_BLOCKS_H_
