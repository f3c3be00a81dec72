#include "quant/iquant_blocks.h"

#include <bit>
#include <cstring>

#include "quant/blocks.h"
#include "quant/kquant_blocks.h"

namespace quern::quant {
namespace {

uint32_t Load32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

void Store32(uint8_t* bytes, uint32_t value) { std::memcpy(bytes, &value, sizeof(value)); }

// Eight signs from seven.
uint8_t WithParity(uint32_t seven) {
  seven &= 127;
  return static_cast<uint8_t>(seven | (std::popcount(seven) & 1u) << 7);
}

// `count` scales, two per byte.
void PackScales(const uint8_t* scale, size_t count, uint8_t* packed) {
  for (size_t b = 0; b < count / 2; ++b) {
    packed[b] = static_cast<uint8_t>(scale[2 * b] | scale[2 * b + 1] << 4);
  }
}
void UnpackScales(const uint8_t* packed, size_t count, uint8_t* scale) {
  for (size_t b = 0; b < count; ++b) scale[b] = (packed[b / 2] >> (b % 2 * 4)) & 15;
}

// The signs of 32 weights and their scale.
uint32_t SignsAndScale(const GridQuants& quants, size_t b) {
  uint32_t word = uint32_t{quants.scale[b]} << 28;
  for (size_t k = 0; k < 4; ++k) word |= (quants.signs[4 * b + k] & 127u) << (7 * k);
  return word;
}
void UnpackSignsAndScale(uint32_t word, size_t b, GridQuants* quants) {
  quants->scale[b] = static_cast<uint8_t>(word >> 28);
  for (size_t k = 0; k < 4; ++k) quants->signs[4 * b + k] = WithParity(word >> (7 * k));
}

void PackIQ2XXS(const GridQuants& quants, uint8_t* block) {
  Store16(block, quants.d);
  for (size_t b = 0; b < 8; ++b) {
    uint8_t* run = block + 2 + 8 * b;
    for (size_t k = 0; k < 4; ++k) run[k] = static_cast<uint8_t>(quants.index[4 * b + k]);
    Store32(run + 4, SignsAndScale(quants, b));
  }
}
void UnpackIQ2XXS(const uint8_t* block, GridQuants* quants) {
  quants->d = Load16(block);
  for (size_t b = 0; b < 8; ++b) {
    const uint8_t* run = block + 2 + 8 * b;
    for (size_t k = 0; k < 4; ++k) quants->index[4 * b + k] = run[k];
    UnpackSignsAndScale(Load32(run + 4), b, quants);
  }
}

void PackIQ2XS(const GridQuants& quants, uint8_t* block) {
  Store16(block, quants.d);
  for (size_t j = 0; j < 32; ++j) {
    const uint32_t word = quants.index[j] | (quants.signs[j] & 127u) << 9;
    Store16(block + 2 + 2 * j, static_cast<uint16_t>(word));
  }
  PackScales(quants.scale, 16, block + 66);
}
void UnpackIQ2XS(const uint8_t* block, GridQuants* quants) {
  quants->d = Load16(block);
  for (size_t j = 0; j < 32; ++j) {
    const uint16_t word = Load16(block + 2 + 2 * j);
    quants->index[j] = word & 511;
    quants->signs[j] = WithParity(word >> 9);
  }
  UnpackScales(block + 66, 16, quants->scale);
}

void PackIQ2S(const GridQuants& quants, uint8_t* block) {
  Store16(block, quants.d);
  std::memset(block + 66, 0, 8);
  for (size_t j = 0; j < 32; ++j) {
    block[2 + j] = static_cast<uint8_t>(quants.index[j]);
    block[34 + j] = quants.signs[j];
    block[66 + j / 4] |= static_cast<uint8_t>(quants.index[j] >> 8 << (j % 4 * 2));
  }
  PackScales(quants.scale, 16, block + 74);
}
void UnpackIQ2S(const uint8_t* block, GridQuants* quants) {
  quants->d = Load16(block);
  for (size_t j = 0; j < 32; ++j) {
    const int high = (block[66 + j / 4] >> (j % 4 * 2)) & 3;
    quants->index[j] = static_cast<uint16_t>(block[2 + j] | high << 8);
    quants->signs[j] = block[34 + j];
  }
  UnpackScales(block + 74, 16, quants->scale);
}

void PackIQ3XXS(const GridQuants& quants, uint8_t* block) {
  Store16(block, quants.d);
  for (size_t j = 0; j < 64; ++j) block[2 + j] = static_cast<uint8_t>(quants.index[j]);
  for (size_t b = 0; b < 8; ++b) Store32(block + 66 + 4 * b, SignsAndScale(quants, b));
}
void UnpackIQ3XXS(const uint8_t* block, GridQuants* quants) {
  quants->d = Load16(block);
  for (size_t j = 0; j < 64; ++j) quants->index[j] = block[2 + j];
  for (size_t b = 0; b < 8; ++b) UnpackSignsAndScale(Load32(block + 66 + 4 * b), b, quants);
}

void PackIQ3S(const GridQuants& quants, uint8_t* block) {
  Store16(block, quants.d);
  std::memset(block + 66, 0, 8);
  for (size_t j = 0; j < 64; ++j) {
    block[2 + j] = static_cast<uint8_t>(quants.index[j]);
    block[66 + j / 8] |= static_cast<uint8_t>(quants.index[j] >> 8 << (j % 8));
  }
  std::memcpy(block + 74, quants.signs, 32);
  PackScales(quants.scale, 8, block + 106);
}
void UnpackIQ3S(const uint8_t* block, GridQuants* quants) {
  quants->d = Load16(block);
  for (size_t j = 0; j < 64; ++j) {
    const int high = (block[66 + j / 8] >> (j % 8)) & 1;
    quants->index[j] = static_cast<uint16_t>(block[2 + j] | high << 8);
  }
  std::memcpy(quants->signs, block + 74, 32);
  UnpackScales(block + 106, 8, quants->scale);
}

void PackIQ1S(const GridQuants& quants, uint8_t* block) {
  Store16(block, quants.d);
  for (size_t b = 0; b < 8; ++b) {
    uint32_t word = uint32_t{quants.scale[b]} << 12 | uint32_t{quants.lowered[4 * b]} << 15;
    for (size_t k = 0; k < 4; ++k) {
      const uint16_t index = quants.index[4 * b + k];
      block[2 + 4 * b + k] = static_cast<uint8_t>(index);
      word |= uint32_t{index} >> 8 << (3 * k);
    }
    Store16(block + 34 + 2 * b, static_cast<uint16_t>(word));
  }
}
void UnpackIQ1S(const uint8_t* block, GridQuants* quants) {
  quants->d = Load16(block);
  std::memset(quants->signs, 0, sizeof(quants->signs));
  for (size_t b = 0; b < 8; ++b) {
    const uint32_t word = Load16(block + 34 + 2 * b);
    quants->scale[b] = (word >> 12) & 7;
    for (size_t k = 0; k < 4; ++k) {
      const uint32_t high = (word >> (3 * k)) & 7;
      quants->index[4 * b + k] = static_cast<uint16_t>(block[2 + 4 * b + k] | high << 8);
      quants->lowered[4 * b + k] = static_cast<uint8_t>(word >> 15);
    }
  }
}

void PackIQ1M(const GridQuants& quants, uint8_t* block) {
  std::memset(block + 32, 0, 16);
  for (size_t j = 0; j < 32; ++j) {
    const int nibble = quants.index[j] >> 8 | quants.lowered[j] << 3;
    block[j] = static_cast<uint8_t>(quants.index[j]);
    block[32 + j / 2] |= static_cast<uint8_t>(nibble << (j % 2 * 4));
  }
  for (size_t b = 0; b < 4; ++b) {
    uint32_t word = (uint32_t{quants.d} >> (4 * b) & 15u) << 12;
    for (size_t k = 0; k < 4; ++k) word |= uint32_t{quants.scale[4 * b + k]} << (3 * k);
    Store16(block + 48 + 2 * b, static_cast<uint16_t>(word));
  }
}
void UnpackIQ1M(const uint8_t* block, GridQuants* quants) {
  std::memset(quants->signs, 0, sizeof(quants->signs));
  for (size_t j = 0; j < 32; ++j) {
    const int nibble = block[32 + j / 2] >> (j % 2 * 4) & 15;
    quants->index[j] = static_cast<uint16_t>(block[j] | (nibble & 7) << 8);
    quants->lowered[j] = static_cast<uint8_t>(nibble >> 3);
  }
  quants->d = 0;
  for (size_t b = 0; b < 4; ++b) {
    const uint32_t word = Load16(block + 48 + 2 * b);
    quants->d = static_cast<uint16_t>(quants->d | (word >> 12) << (4 * b));
    for (size_t k = 0; k < 4; ++k) quants->scale[4 * b + k] = (word >> (3 * k)) & 7;
  }
}

}  // namespace

constinit const GridType kIQ2XXSLayout = {GridId::kIQ2XXS, 66, 32,         0.5f,        1, 0.25f,
                                          {8, 25, 43},     0,  PackIQ2XXS, UnpackIQ2XXS};
constinit const GridType kIQ2XSLayout = {GridId::kIQ2XS, 74,          16, 0.5f,      1,
                                         0.25f,          {8, 25, 43}, 0,  PackIQ2XS, UnpackIQ2XS};
constinit const GridType kIQ2SLayout = {GridId::kIQ2S, 82,          16, 0.5f,     1,
                                        0.25f,         {8, 25, 43}, 0,  PackIQ2S, UnpackIQ2S};
constinit const GridType kIQ3XXSLayout = {
    GridId::kIQ3XXS, 98,          32, 0.5f, 1, 0.5f, {4, 12, 20, 28, 36, 44, 52, 62}, 0,
    PackIQ3XXS,      UnpackIQ3XXS};
constinit const GridType kIQ3SLayout = {
    GridId::kIQ3S, 110, 32, 1, 2, 1, {1, 3, 5, 7, 9, 11, 13, 15}, 0, PackIQ3S, UnpackIQ3S};
constinit const GridType kIQ1SLayout = {GridId::kIQ1, 50,     32,       1,         2, 1,
                                        {-1, 0, 1},   0.125f, PackIQ1S, UnpackIQ1S};
constinit const GridType kIQ1MLayout = {GridId::kIQ1, 56,     16,       1,         2, 1,
                                        {-1, 0, 1},   0.125f, PackIQ1M, UnpackIQ1M};

void DequantizeGrid(const GridType& type, const uint8_t* blocks, float* weights,
                    size_t count) noexcept {
  const GridCodes& grid = CodesOf(type.grid);
  const size_t dimension = static_cast<size_t>(grid.dimension);
  const int level_mask = (1 << grid.bits) - 1;
  GridQuants quants{};
  for (size_t done = 0; done < count; done += kSuperblock, blocks += type.bytes) {
    type.unpack(blocks, &quants);
    const float d = F16ToF32(quants.d);
    for (size_t i = 0; i < kSuperblock; i += dimension) {
      const float level = type.offset + type.step * quants.scale[i / type.scaled];
      const float scale = d * level * type.factor;
      const float shift = quants.lowered[i / 8] ? -type.shift : type.shift;
      uint32_t signs = uint32_t{quants.signs[i / 8]} >> (i % 8);
      uint32_t code = grid.codes[quants.index[i / dimension]];
      for (size_t k = 0; k < dimension; ++k) {
        const float w = scale * (type.values[code & static_cast<uint32_t>(level_mask)] + shift);
        *weights++ = signs & 1 ? -w : w;
        code >>= grid.bits;
        signs >>= 1;
      }
    }
  }
}

}  // namespace quern::quant
