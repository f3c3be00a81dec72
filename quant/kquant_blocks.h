// Byte layouts of the K-quant superblocks (Q2_K, Q3_K, Q4_K, Q5_K, Q6_K) and the packing of their
// quants and scales: every place where a bit has a position.
//
// Contract: a superblock is 256 weights = 8 blocks of 32 or 16 blocks of 16. The structs are made
// of bytes only, so they may lie at any address. Pack* and Unpack* are inverses for values in range
// and total: no input is undefined. Quants are unpacked in the order of the weights. Non-goals:
// arithmetic on weights (kquant_ref.h, kquant_simd.cc). Source: ggml's src/ggml-common.h (layouts),
// v0.5.0.
#ifndef QUERN_QUANT_KQUANT_BLOCKS_H_
#define QUERN_QUANT_KQUANT_BLOCKS_H_

#include <cstddef>
#include <cstdint>

namespace quern::quant {

inline constexpr size_t kSuperblock = 256;

// Below, half p = 128p..128p+127 and quarter p = 64p..64p+63 of a superblock; q[i] is the quant of
// weight i, s and m belong to its block.

// Q2_K: 16 blocks of 16; 84 bytes, 2.625 bpw.    w = d*s*q - dmin*m, q in 0..3
//  offset size field   content
//       0   16 scales  byte j: low nibble s[j], high nibble m[j]
//      16   64 qs      byte 32p+l: bits 2k,2k+1 = q[128p+32k+l]
//      80    2 d       f16, scale of scales
//      82    2 dmin    f16, scale of mins
struct Q2KBlock {
  uint8_t scales[16];
  uint8_t qs[64];
  uint8_t d[2];
  uint8_t dmin[2];
};

// Q3_K: 16 blocks of 16; 110 bytes, 3.4375 bpw.  w = d*(s-32)*(q-4), q in 0..7
//  offset size field   content
//       0   32 hmask   byte l: bit k = bit 2 of q[32k+l]
//      32   64 qs      byte 32p+l: bits 2k,2k+1 = low bits of q[128p+32k+l]
//      96   12 scales  16 x 6 bits: low nibbles of s[j], s[8+j] in byte j < 8,
//                      bits 4,5 of s[4k+j] at bits 2k,2k+1 of byte 8+j
//     108    2 d       f16
struct Q3KBlock {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint8_t d[2];
};

// Q4_K: 8 blocks of 32; 144 bytes, 4.5 bpw.      w = d*s*q - dmin*m, q in 0..15
//  offset size field   content
//       0    2 d       f16, scale of scales
//       2    2 dmin    f16, scale of mins
//       4   12 scales  8 x 6-bit s, 8 x 6-bit m (Pack6Bit)
//      16  128 qs      byte 32p+l: low nibble q[64p+l], high nibble q[64p+32+l]
struct Q4KBlock {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t qs[128];
};

// Q5_K: 8 blocks of 32; 176 bytes, 5.5 bpw.      w = d*s*q - dmin*m, q in 0..31
//  offset size field   content
//       0    2 d       f16, scale of scales
//       2    2 dmin    f16, scale of mins
//       4   12 scales  as Q4_K
//      16   32 qh      byte l: bit k = bit 4 of q[32k+l]
//      48  128 qs      low four bits, as Q4_K
struct Q5KBlock {
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};

// Q6_K: 16 blocks of 16; 210 bytes, 6.5625 bpw.  w = d*s*(q-32), q in 0..63
//  offset size field   content
//       0  128 ql      low four bits: byte 64p+l, l < 64: low nibble q[128p+l], high q[128p+64+l]
//     128   64 qh      byte 32p+l: bits 2k,2k+1 = bits 4,5 of q[128p+32k+l]
//     192   16 scales  int8 s[j]
//     208    2 d       f16
struct Q6KBlock {
  uint8_t ql[128];
  uint8_t qh[64];
  uint8_t scales[16];
  uint8_t d[2];
};

static_assert(sizeof(Q2KBlock) == 84 && sizeof(Q3KBlock) == 110 && sizeof(Q4KBlock) == 144 &&
              sizeof(Q5KBlock) == 176 && sizeof(Q6KBlock) == 210);

// 8 scales and 8 mins of 6 bits in 12 bytes (Q4_K, Q5_K):
//  byte j   < 4: s[j] | bits 4,5 of s[4+j] << 6
//  byte 4+j < 8: m[j] | bits 4,5 of m[4+j] << 6
//  byte 8+j    : low nibble s[4+j], high nibble m[4+j]
// A value above 63 is not cut: its bits 6, 7 run into the neighbour's, as they do in llama.cpp.
inline void Pack6Bit(const uint8_t* s, const uint8_t* m, uint8_t* packed) {
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<uint8_t>(s[j] | ((s[4 + j] >> 4) << 6));
    packed[4 + j] = static_cast<uint8_t>(m[j] | ((m[4 + j] >> 4) << 6));
    packed[8 + j] = static_cast<uint8_t>((s[4 + j] & 15) | ((m[4 + j] & 15) << 4));
  }
}

inline void Unpack6Bit(const uint8_t* packed, uint8_t* s, uint8_t* m) {
  for (int j = 0; j < 4; ++j) {
    s[j] = packed[j] & 63;
    m[j] = packed[4 + j] & 63;
    s[4 + j] = static_cast<uint8_t>((packed[8 + j] & 15) | ((packed[j] >> 6) << 4));
    m[4 + j] = static_cast<uint8_t>((packed[8 + j] >> 4) | ((packed[4 + j] >> 6) << 4));
  }
}

// 16 scales of 6 bits in 12 bytes (Q3_K).
inline void PackQ3Scales(const uint8_t* s, uint8_t* packed) {
  for (int j = 0; j < 8; ++j) packed[j] = static_cast<uint8_t>((s[j] & 15) | (s[8 + j] << 4));
  for (int j = 0; j < 4; ++j) {
    packed[8 + j] = static_cast<uint8_t>((s[j] >> 4) | ((s[4 + j] >> 4) << 2) |
                                         ((s[8 + j] >> 4) << 4) | ((s[12 + j] >> 4) << 6));
  }
}

inline void UnpackQ3Scales(const uint8_t* packed, uint8_t* s) {
  for (int j = 0; j < 16; ++j) {
    const int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
    const int high = (packed[8 + j % 4] >> (2 * (j / 4))) & 3;
    s[j] = static_cast<uint8_t>(low | (high << 4));
  }
}

// Four quants of two bits per byte, in the order of Q2_K; bits above are cut.
inline void PackTwoBit(const uint8_t* q, uint8_t* packed) {
  for (int p = 0; p < 2; ++p) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t* column = q + 128 * p + l;
      packed[32 * p + l] = static_cast<uint8_t>((column[0] & 3) | ((column[32] & 3) << 2) |
                                                ((column[64] & 3) << 4) | (column[96] << 6));
    }
  }
}

// Here and below, shifts are by constants and targets local, so that compilers make vectors of
// them.
inline void UnpackTwoBit(const uint8_t* packed, uint8_t* q) {
  for (int p = 0; p < 2; ++p) {
    uint8_t rest[32];
    for (int l = 0; l < 32; ++l) rest[l] = packed[32 * p + l];
    for (int k = 0; k < 4; ++k) {
      for (int l = 0; l < 32; ++l) q[128 * p + 32 * k + l] = rest[l] & 3;
      for (int l = 0; l < 32; ++l) rest[l] = static_cast<uint8_t>(rest[l] >> 2);
    }
  }
}

// Bit kBit of each quant, 8 quants per byte in the order of Q3_K's hmask and Q5_K's qh.
template <int kBit>
inline void PackHighBit(const uint8_t* q, uint8_t* packed) {
  uint8_t bits[32] = {};
  for (int k = 7; k >= 0; --k) {
    for (int l = 0; l < 32; ++l) {
      bits[l] = static_cast<uint8_t>((bits[l] << 1) | ((q[32 * k + l] >> kBit) & 1));
    }
  }
  for (int l = 0; l < 32; ++l) packed[l] = bits[l];
}

// Adds the bits to quants that hold the lower ones.
template <int kBit>
inline void UnpackHighBit(const uint8_t* packed, uint8_t* q) {
  uint8_t rest[32];
  for (int l = 0; l < 32; ++l) rest[l] = packed[l];
  for (int k = 0; k < 8; ++k) {
    for (int l = 0; l < 32; ++l) {
      q[32 * k + l] = static_cast<uint8_t>(q[32 * k + l] | ((rest[l] & 1) << kBit));
    }
    for (int l = 0; l < 32; ++l) rest[l] = static_cast<uint8_t>(rest[l] >> 1);
  }
}

// Low nibbles of runs of 2*kRun quants in kRun bytes: 32 for Q4_K and Q5_K, 64 for Q6_K.
template <int kRun>
inline void PackNibbles(const uint8_t* q, uint8_t* packed) {
  for (int p = 0; p < 128 / kRun; ++p) {
    for (int l = 0; l < kRun; ++l) {
      const uint8_t* pair = q + 2 * kRun * p + l;
      packed[kRun * p + l] = static_cast<uint8_t>((pair[0] & 15) | (pair[kRun] << 4));
    }
  }
}

template <int kRun>
inline void UnpackNibbles(const uint8_t* packed, uint8_t* q) {
  for (int p = 0; p < 128 / kRun; ++p) {
    for (int l = 0; l < kRun; ++l) {
      q[2 * kRun * p + l] = packed[kRun * p + l] & 15;
      q[2 * kRun * p + kRun + l] = static_cast<uint8_t>(packed[kRun * p + l] >> 4);
    }
  }
}

// All 256 quants of a superblock, in the order of the weights.
inline void PackQuants(const uint8_t* q, Q2KBlock* block) { PackTwoBit(q, block->qs); }
inline void UnpackQuants(const Q2KBlock& block, uint8_t* q) { UnpackTwoBit(block.qs, q); }

inline void PackQuants(const uint8_t* q, Q3KBlock* block) {
  PackTwoBit(q, block->qs);
  PackHighBit<2>(q, block->hmask);
}
inline void UnpackQuants(const Q3KBlock& block, uint8_t* q) {
  UnpackTwoBit(block.qs, q);
  UnpackHighBit<2>(block.hmask, q);
}

inline void PackQuants(const uint8_t* q, Q4KBlock* block) { PackNibbles<32>(q, block->qs); }
inline void UnpackQuants(const Q4KBlock& block, uint8_t* q) { UnpackNibbles<32>(block.qs, q); }

inline void PackQuants(const uint8_t* q, Q5KBlock* block) {
  PackNibbles<32>(q, block->qs);
  PackHighBit<4>(q, block->qh);
}
inline void UnpackQuants(const Q5KBlock& block, uint8_t* q) {
  UnpackNibbles<32>(block.qs, q);
  UnpackHighBit<4>(block.qh, q);
}

inline void PackQuants(const uint8_t* q, Q6KBlock* block) {
  PackNibbles<64>(q, block->ql);
  for (int p = 0; p < 2; ++p) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t* column = q + 128 * p + l;
      block->qh[32 * p + l] =
          static_cast<uint8_t>((column[0] >> 4) | ((column[32] >> 4) << 2) |
                               ((column[64] >> 4) << 4) | ((column[96] >> 4) << 6));
    }
  }
}
inline void UnpackQuants(const Q6KBlock& block, uint8_t* q) {
  uint8_t high[kSuperblock];
  UnpackTwoBit(block.qh, high);
  UnpackNibbles<64>(block.ql, q);
  for (size_t i = 0; i < kSuperblock; ++i) q[i] = static_cast<uint8_t>(q[i] | (high[i] << 4));
}

}  // namespace quern::quant

#endif  // QUERN_QUANT_KQUANT_BLOCKS_H_
