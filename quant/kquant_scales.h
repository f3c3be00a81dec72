// What the K-quants differ in, as data, and the step that both implementations share: from one
// scale (and min) per block of weights to the quantized scales of a superblock, and back.
//
// A superblock is quantized in three steps: search a scale per block (scale_search_ref.h or
// lanes of vectors), quantize those scales here, and quantize the weights again with the scales as
// a reader will see them. Blocks whose decoded scale is zero keep the quants of the search.
// Contract: scalar order and rounding as in llama.cpp v0.5.0; total, like scale_search_ref.h.
#ifndef QUERN_QUANT_KQUANT_SCALES_H_
#define QUERN_QUANT_KQUANT_SCALES_H_

#include "quant/kquant_blocks.h"
#include "quant/scale_search_ref.h"

namespace quern::quant {

// Where the weights of a search come from when there is an importance matrix: with
// sigma2 = factor * sum x^2 / 256 over the superblock, w = importance * sqrt(sigma2 + x^2).
// Without one: rms of the block + |x| (Q4_K, Q5_K), |x| (Q2_K), x^2 (Q3_K, Q6_K).
template <class Block>
struct KTraits;

template <>
struct KTraits<Q2KBlock> {
  static constexpr size_t kSub = 16;  // weights per block
  static constexpr bool kHasMin = true;
  static constexpr bool kRmsWeights = false;
  static constexpr float kSigmaFactor = 1.f;
  static constexpr int kScaleLevels = 15;
  static constexpr ScaleMinSearch kPlain{3, {-0.5f, 0.1f, 15}, ErrorNorm::kAbsolute};
  static constexpr ScaleMinSearch kWeighted{3, {-0.9f, 0.05f, 36}, ErrorNorm::kSquared};
};

template <>
struct KTraits<Q3KBlock> {
  static constexpr size_t kSub = 16;
  static constexpr bool kHasMin = false;
  static constexpr float kSigmaFactor = 2.f;
  static constexpr int kHalf = 4;  // quants are stored as q + kHalf
};

template <>
struct KTraits<Q4KBlock> {
  static constexpr size_t kSub = 32;
  static constexpr bool kHasMin = true;
  static constexpr bool kRmsWeights = true;
  static constexpr float kSigmaFactor = 2.f;
  static constexpr int kScaleLevels = 63;
  static constexpr ScaleMinSearch kPlain{15, {-1.f, 0.1f, 20}, ErrorNorm::kSquared};
  static constexpr ScaleMinSearch kWeighted{15, {-0.9f, 0.05f, 36}, ErrorNorm::kSquared};
};

template <>
struct KTraits<Q5KBlock> {
  static constexpr size_t kSub = 32;
  static constexpr bool kHasMin = true;
  static constexpr bool kRmsWeights = true;
  static constexpr float kSigmaFactor = 2.f;
  static constexpr int kScaleLevels = 63;
  static constexpr ScaleMinSearch kPlain{31, {-0.5f, 0.1f, 15}, ErrorNorm::kSquared};
  static constexpr ScaleMinSearch kWeighted{31, {-0.9f, 0.05f, 36}, ErrorNorm::kSquared};
};

template <>
struct KTraits<Q6KBlock> {
  static constexpr size_t kSub = 16;
  static constexpr bool kHasMin = false;
  static constexpr int kHalf = 32;
};

template <class Block>
inline constexpr size_t kSubCount = kSuperblock / KTraits<Block>::kSub;

// One value per block of weights: what the search found.
struct SubFits {
  float scale[16];
  float min[16];          // types with a min only
  float sum_weights[16];  // read with an importance matrix only
};

// One value per block of weights, as a reader decodes them: w = scale*(q - half) - min.
struct SubScales {
  float scale[16];
  float min[16];
};

// Scales and mins of a superblock as they are stored.
struct StoredScales {
  float d;
  float dmin;
  uint8_t scales[16];
  uint8_t mins[16];
};
void StoreScales(const StoredScales& stored, Q2KBlock* block);
void StoreScales(const StoredScales& stored, Q4KBlock* block);
void StoreScales(const StoredScales& stored, Q5KBlock* block);

// Fill the scale fields of a superblock; `weighted` = there is an importance matrix.
void QuantizeScales(const SubFits& fits, bool weighted, Q2KBlock* block);
void QuantizeScales(const SubFits& fits, bool weighted, Q3KBlock* block);
void QuantizeScales(const SubFits& fits, bool weighted, Q4KBlock* block);
void QuantizeScales(const SubFits& fits, bool weighted, Q5KBlock* block);
void QuantizeScales(const SubFits& fits, bool weighted, Q6KBlock* block);

// Whether all scales are too small to count: a Q6_K superblock is all zero bytes then.
bool NoScale(const SubFits& fits);

void DecodeScales(const Q2KBlock& block, SubScales* scales);
void DecodeScales(const Q3KBlock& block, SubScales* scales);
void DecodeScales(const Q4KBlock& block, SubScales* scales);
void DecodeScales(const Q5KBlock& block, SubScales* scales);
void DecodeScales(const Q6KBlock& block, SubScales* scales);

}  // namespace quern::quant

#endif  // QUERN_QUANT_KQUANT_SCALES_H_
