// Vector K-quants: the searches run with a block of weights per lane (scale_search-inl.h), the rest
// with a weight per lane, where order does not matter.
//
// The weights of all rows are one sequence of superblocks. As many as fill the lanes are taken at a
// time; the last group repeats its last superblock. A superblock that a search reports as not exact
// goes to the scalar code.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kquant_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "quant/codecs.h"
#include "quant/kquant_blocks.h"
#include "quant/kquant_ref.h"
#include "quant/kquant_scales.h"
#include "quant/scale_search-inl.h"

#ifndef QUERN_QUANT_KQUANT_SIMD_ONCE_
#define QUERN_QUANT_KQUANT_SIMD_ONCE_
namespace quern::quant {

// The kernels of one instruction set, in the order Q2_K ... Q6_K.
struct KQuantTable {
  QuantizeFn quantize[5];
  DequantizeFn dequantize[5];
};

}  // namespace quern::quant
#endif  // QUERN_QUANT_KQUANT_SIMD_ONCE_

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

using DU8 = hn::Rebind<uint8_t, DF>;

// A superblock on its way.
struct Superblock {
  const float* x;
  const float* importance;  // null, or of these 256 columns
  float sigma2 = 0;
  bool exact;
  SubFits fits;
  float inverse[16];
  float origin[16];
  StoredScales stored;  // with an importance matrix and for types with a min
};

// sigma2 of KTraits for all superblocks of a group. The sums of squares go in order; their chains
// of additions hide each other.
template <size_t... g>
void Sigma2(float factor, Superblock* group, std::index_sequence<g...>) {
  const float* const x[] = {group[g].x...};
  float sums[] = {(static_cast<void>(g), 0.f)...};
  for (size_t i = 0; i < kSuperblock; ++i) ((sums[g] += x[g][i] * x[g][i]), ...);
  ((group[g].sigma2 = factor * sums[g] / static_cast<float>(kSuperblock)), ...);
}

// Weights of the error for plain quantization.
template <class Block, class W>
void PlainWeights(const float* x, float* weights) {
  using O = LaneOps<W>;
  constexpr size_t kEnd = KTraits<Block>::kSub * O::Lanes();
  if constexpr (!KTraits<Block>::kHasMin) {
    for (size_t i = 0; i < kEnd; i += O::Lanes()) {
      O::Store(Mul(O::Load(x + i), O::Load(x + i)), weights + i);
    }
  } else {
    W rms = O::Set(0.f);
    if constexpr (KTraits<Block>::kRmsWeights) {
      W sum = O::Set(0.f);
      for (size_t i = 0; i < kEnd; i += O::Lanes()) {
        sum = Add(sum, Mul(O::Load(x + i), O::Load(x + i)));
      }
      rms = Sqrt(Div(sum, O::Set(static_cast<float>(KTraits<Block>::kSub))));
    }
    for (size_t i = 0; i < kEnd; i += O::Lanes()) {
      O::Store(Add(rms, Abs(O::Load(x + i))), weights + i);
    }
  }
}

// Weights of the error from transposed importance, in place. Q6_K takes the importance itself.
template <class Block, class W>
void ImportanceWeights(const float* x, const float* sigma2, float* weights) {
  using O = LaneOps<W>;
  if constexpr (!std::is_same_v<Block, Q6KBlock>) {
    const W sigma = O::Load(sigma2);
    for (size_t i = 0; i < KTraits<Block>::kSub * O::Lanes(); i += O::Lanes()) {
      const W xi = O::Load(x + i);
      const W size = Sqrt(Add(sigma, Mul(xi, xi)));
      O::Store(Mul(O::Load(weights + i), size), weights + i);
    }
  }
}

// Searches kSets sets of lanes, whose transposed weights lie one after the other.
template <class Block, class W, size_t kSets>
HWY_NOINLINE void Search(const float* x, const float* weights, bool weighted, LaneFits* fits) {
  using Traits = KTraits<Block>;
  if constexpr (Traits::kHasMin) {
    constexpr ScaleMinSearch kPlain = Traits::kPlain;
    constexpr ScaleMinSearch kWeighted = Traits::kWeighted;
    if (weighted) {
      FitScaleMinLanes<W, kSets, Traits::kSub, kWeighted.norm>(kWeighted, x, weights, fits);
    } else {
      FitScaleMinLanes<W, kSets, Traits::kSub, kPlain.norm>(kPlain, x, weights, fits);
    }
  } else {
    static_assert(kSets == 1);
    if (std::is_same_v<Block, Q6KBlock> || weighted) {
      FitScaleLanes<W, Traits::kSub, Traits::kHalf>(x, weights, fits);
    } else {
      FitScaleByDescentLanes<W, Traits::kSub, Traits::kHalf>(x, weights, fits);
    }
  }
}

// Copies the results of lanes first_lane... to the superblocks they belong to.
template <class Block>
void Distribute(const LaneFits& fits, size_t first_lane, size_t lanes, bool weighted,
                Superblock* group) {
  for (size_t j = 0; j < lanes; ++j) {
    Superblock& to = group[(first_lane + j) / kSubCount<Block>];
    const size_t sub = (first_lane + j) % kSubCount<Block>;
    to.fits.scale[sub] = fits.scale[j];
    to.inverse[sub] = fits.inverse[j];
    to.exact = to.exact && fits.exact[j] != 0;
    if constexpr (KTraits<Block>::kHasMin) {
      to.fits.min[sub] = fits.min[j];
      to.origin[sub] = fits.origin[j];
    }
    if (weighted) to.fits.sum_weights[sub] = fits.sum_weights[j];
  }
}

// Searches lanes first_lane... of a group, whose lane kSubCount*g + j is block j of superblock g.
template <class Block, class W, size_t kSets>
void SearchLanes(size_t first_lane, bool weighted, Superblock* group) {
  constexpr size_t kLanes = LaneOps<W>::Lanes();
  constexpr size_t kSub = KTraits<Block>::kSub;
  constexpr size_t kCount = kSubCount<Block>;
  HWY_ALIGN float x[kSets * kSub * kLanes];
  HWY_ALIGN float weights[kSets * kSub * kLanes];
  for (size_t c = 0; c < kSets; ++c) {
    float* lane_x = x + c * kSub * kLanes;
    float* lane_weights = weights + c * kSub * kLanes;
    HWY_ALIGN float sigma2[kLanes];
    const float* sources[kLanes];
    const float* importance[kLanes];
    for (size_t j = 0; j < kLanes; ++j) {
      const size_t lane = first_lane + c * kLanes + j;
      const Superblock& from = group[lane / kCount];
      sources[j] = from.x + lane % kCount * kSub;
      importance[j] = weighted ? from.importance + lane % kCount * kSub : nullptr;
      sigma2[j] = from.sigma2;
    }
    Transpose(sources, kLanes, kSub, lane_x);
    if (weighted) {
      Transpose(importance, kLanes, kSub, lane_weights);
      ImportanceWeights<Block, W>(lane_x, sigma2, lane_weights);
    } else {
      PlainWeights<Block, W>(lane_x, lane_weights);
    }
  }
  LaneFits fits;
  Search<Block, W, kSets>(x, weights, weighted, &fits);
  Distribute<Block>(fits, first_lane, kSets * kLanes, weighted, group);
}

// Quantizes scales and mins by importance, each of a superblock in a lane of its own.
template <class Block, size_t kGroup>
HWY_NOINLINE void FitStoredScales(Superblock* group) {
  constexpr size_t kLanes = LaneOps<VF>::Lanes();
  constexpr size_t n = kSubCount<Block>;
  HWY_ALIGN float x[n * kLanes];
  HWY_ALIGN float weights[n * kLanes];
  HWY_ALIGN float q[n * kLanes];
  HWY_ALIGN float scale[kLanes];
  HWY_ALIGN float exact[kLanes];
  for (size_t first = 0; first < 2 * kGroup; first += kLanes) {
    // Lane 2g is for the scales of superblock g, lane 2g+1 for its mins.
    for (size_t j = 0; j < kLanes; ++j) {
      const size_t lane = std::min(first + j, 2 * kGroup - 1);
      const SubFits& fits = group[lane / 2].fits;
      const float* values = lane % 2 == 0 ? fits.scale : fits.min;
      for (size_t i = 0; i < n; ++i) {
        x[i * kLanes + j] = values[i];
        weights[i * kLanes + j] = fits.sum_weights[i];
      }
    }
    VF fitted;
    const MF good =
        FitPositiveScaleLanes<VF, n>(KTraits<Block>::kScaleLevels, x, weights, q, fitted);
    LaneOps<VF>::Store(fitted, scale);
    LaneOps<VF>::Store(IfThenElse(good, LaneOps<VF>::Set(1.f), LaneOps<VF>::Set(0.f)), exact);
    for (size_t j = 0; j < kLanes && first + j < 2 * kGroup; ++j) {
      Superblock& to = group[(first + j) / 2];
      const bool is_min = (first + j) % 2 != 0;
      to.exact = to.exact && exact[j] != 0;
      if (exact[j] == 0) continue;
      (is_min ? to.stored.dmin : to.stored.d) = scale[j];
      uint8_t* stored = is_min ? to.stored.mins : to.stored.scales;
      for (size_t i = 0; i < n; ++i) stored[i] = static_cast<uint8_t>(q[i * kLanes + j]);
    }
  }
}

// Quants of one block for its decoded scale and min.
template <class Block>
HWY_INLINE void RequantizeSub(const float* x, float scale, float min, uint8_t* q) {
  using Traits = KTraits<Block>;
  const DF df;
  const VF d = hn::Set(df, scale);
  for (size_t i = 0; i < Traits::kSub; i += hn::Lanes(df)) {
    const VF xi = hn::LoadU(df, x + i);
    VI l;
    if constexpr (Traits::kHasMin) {
      l = NearestLimited(hn::Div(hn::Add(xi, hn::Set(df, min)), d), 0, Traits::kPlain.levels);
    } else {
      l = NearestLimited(hn::Div(xi, d), -Traits::kHalf, Traits::kHalf - 1);
      l = hn::Add(l, hn::Set(DI(), Traits::kHalf));
    }
    hn::StoreU(hn::DemoteTo(DU8(), l), DU8(), q + i);
  }
}

// Quants of one block as its search left them; for blocks whose decoded scale is zero.
template <class Block>
void SearchedQuants(const Superblock& work, size_t sub, uint8_t* q) {
  using Traits = KTraits<Block>;
  const float* x = work.x + sub * Traits::kSub;
  const float inverse = work.inverse[sub];
  if (inverse == 0) {
    std::memset(q, 0, Traits::kSub);
    return;
  }
  if constexpr (Traits::kHasMin) {
    for (size_t i = 0; i < Traits::kSub; ++i) {
      const int l = NearestInt(inverse * (x[i] - work.origin[sub]));
      q[i] = static_cast<uint8_t>(std::clamp(l, 0, Traits::kPlain.levels));
    }
    return;
  } else if (std::is_same_v<Block, Q3KBlock> && work.importance == nullptr) {
    FitScaleByDescent(Traits::kHalf, Traits::kSub, x, q);
    return;
  } else {
    for (size_t i = 0; i < Traits::kSub; ++i) {
      const int l = std::clamp(NearestInt(inverse * x[i]), -Traits::kHalf, Traits::kHalf - 1);
      q[i] = static_cast<uint8_t>(l + Traits::kHalf);
    }
  }
}

template <class Block>
HWY_NOINLINE void Finish(const Superblock& work, Block* block) {
  using Traits = KTraits<Block>;
  if (!work.exact) {
    QuantizeSuperblock(work.x, work.importance, block);
    return;
  }
  if constexpr (std::is_same_v<Block, Q6KBlock>) {
    if (NoScale(work.fits)) {
      std::memset(block, 0, sizeof(*block));
      return;
    }
  }
  bool stored = false;
  if constexpr (Traits::kHasMin) {
    stored = work.importance != nullptr;
    if (stored) StoreScales(work.stored, block);
  }
  if (!stored) QuantizeScales(work.fits, work.importance != nullptr, block);
  SubScales scales;
  DecodeScales(*block, &scales);
  HWY_ALIGN uint8_t q[kSuperblock];
  for (size_t j = 0; j < kSubCount<Block>; ++j) {
    uint8_t* to = q + j * Traits::kSub;
    if (scales.scale[j] == 0) {
      SearchedQuants<Block>(work, j, to);
    } else {
      RequantizeSub<Block>(work.x + j * Traits::kSub, scales.scale[j], scales.min[j], to);
    }
  }
  PackQuants(q, block);
}

template <class Block, class W, size_t kSets>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) {
  constexpr size_t kLanes = kSets * LaneOps<W>::Lanes();
  constexpr size_t kGroup = std::max<size_t>(1, kLanes / kSubCount<Block>);
  Block* block = reinterpret_cast<Block*>(blocks);
  const size_t per_row = columns / kSuperblock;
  const size_t total = rows * per_row;
  Superblock group[kGroup];
  for (size_t first = 0; first < total; first += kGroup) {
    for (size_t g = 0; g < kGroup; ++g) {
      const size_t index = std::min(first + g, total - 1);
      group[g].x = weights + index * kSuperblock;
      group[g].importance = imatrix ? imatrix + index % per_row * kSuperblock : nullptr;
      group[g].exact = true;
    }
    if constexpr (!std::is_same_v<Block, Q6KBlock>) {
      if (imatrix != nullptr)
        Sigma2(KTraits<Block>::kSigmaFactor, group, std::make_index_sequence<kGroup>());
    }
    for (size_t lane = 0; lane < kGroup * kSubCount<Block>; lane += kLanes) {
      SearchLanes<Block, W, kSets>(lane, imatrix != nullptr, group);
    }
    if constexpr (KTraits<Block>::kHasMin) {
      if (imatrix != nullptr) FitStoredScales<Block, kGroup>(group);
    }
    for (size_t g = 0; g < kGroup && first + g < total; ++g) Finish(group[g], block + first + g);
  }
}

template <class Block>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) {
  using Traits = KTraits<Block>;
  const DF df;
  const DI di;
  const Block* block = reinterpret_cast<const Block*>(blocks);
  for (size_t done = 0; done < count; done += kSuperblock, weights += kSuperblock, ++block) {
    SubScales scales;
    DecodeScales(*block, &scales);
    HWY_ALIGN uint8_t q[kSuperblock];
    UnpackQuants(*block, q);
    for (size_t j = 0; j < kSubCount<Block>; ++j) {
      const VF scale = hn::Set(df, scales.scale[j]);
      for (size_t i = j * Traits::kSub; i < (j + 1) * Traits::kSub; i += hn::Lanes(df)) {
        VI l = hn::PromoteTo(di, hn::LoadU(DU8(), q + i));
        if constexpr (Traits::kHasMin) {
          const VF product = hn::Mul(scale, hn::ConvertTo(df, l));
          hn::StoreU(hn::Sub(product, hn::Set(df, scales.min[j])), df, weights + i);
        } else {
          l = hn::Sub(l, hn::Set(di, Traits::kHalf));
          hn::StoreU(hn::Mul(scale, hn::ConvertTo(df, l)), df, weights + i);
        }
      }
    }
  }
}

using W2 = Pair<VF>;

void QuantizeQ3(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* imatrix) {
  const auto quantize = imatrix ? Quantize<Q3KBlock, W2, 1> : Quantize<Q3KBlock, VF, 1>;
  quantize(weights, blocks, rows, columns, imatrix);
}

const KQuantTable* KQuantKernels() {
  static constexpr KQuantTable kKernels = {
      {Quantize<Q2KBlock, W2, 2>, QuantizeQ3, Quantize<Q4KBlock, W2, 2>, Quantize<Q5KBlock, W2, 2>,
       Quantize<Q6KBlock, W2, 1>},
      {Dequantize<Q2KBlock>, Dequantize<Q3KBlock>, Dequantize<Q4KBlock>, Dequantize<Q5KBlock>,
       Dequantize<Q6KBlock>}};
  return &kKernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(KQuantKernels);

template <size_t kIndex>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  HWY_DYNAMIC_DISPATCH(KQuantKernels)()->quantize[kIndex](weights, blocks, rows, columns, imatrix);
}

template <size_t kIndex>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(KQuantKernels)()->dequantize[kIndex](blocks, weights, count);
}

template <size_t kIndex, class Block>
constexpr Codec KCodec(TensorType type) {
  return {type,
          false,
          Quantize<kIndex>,
          Dequantize<kIndex>,
          QuantizeKReference<Block>,
          DequantizeKReference<Block>};
}

}  // namespace

constinit const Codec kQ2KCodec = KCodec<0, Q2KBlock>(TensorType::kQ2_K);
constinit const Codec kQ3KCodec = KCodec<1, Q3KBlock>(TensorType::kQ3_K);
constinit const Codec kQ4KCodec = KCodec<2, Q4KBlock>(TensorType::kQ4_K);
constinit const Codec kQ5KCodec = KCodec<3, Q5KBlock>(TensorType::kQ5_K);
constinit const Codec kQ6KCodec = KCodec<4, Q6KBlock>(TensorType::kQ6_K);

}  // namespace quern::quant
#endif  // HWY_ONCE
