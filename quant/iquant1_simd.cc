// Vector IQ1_S and IQ1_M: a block per lane for the split (iquant1_split-inl.h) and the sums, a near
// point per lane for the choice among these.
//
// The error of a near point is a sum over its weights of what one level of that weight costs; so
// the costs of a weight are one vector, in which the points look theirs up. Sums are made in the
// order of iquant1_ref.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/iquant1_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "quant/blocks.h"
#include "quant/codecs.h"
#include "quant/iquant1_ref.h"
#include "quant/iquant1_split-inl.h"
#include "quant/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace iq1 {

// As the reference.
HWY_INLINE uint16_t BestNear(const Grid& grid, const float* x, const float* weights,
                             const float* values, float scale, uint32_t code) {
#if HWY_TARGET == HWY_SCALAR
  return BestNearIQ1(grid, x, weights, values, scale, code);
#else
  const DF df;
  const DI di;
  const hn::Rebind<uint16_t, DF> du16;
  const auto near = grid.Near(code);
  VF costs[8];
  const VF scaled = hn::Mul(hn::Set(df, scale), hn::LoadDup128(df, values));
  for (size_t k = 0; k < 8; ++k) {
    const VF diff = hn::Sub(scaled, hn::Set(df, x[k]));
    costs[k] = hn::Mul(hn::Mul(hn::Set(df, weights[k]), diff), diff);
  }
  VF best = hn::Set(df, std::numeric_limits<float>::max());
  VI best_at = hn::Zero(di);
  VI at = hn::Iota(di, 0);
  const VI three = hn::Set(di, 3);
  const auto cost = [&](size_t k, VI codes) {
    return hn::TableLookupLanes(costs[k], hn::IndicesFromVec(df, hn::And(codes, three)));
  };
  for (size_t j = 0; j < near.size(); j += kLanes) {
    VI codes = hn::PromoteTo(di, hn::LoadU(du16, near.data() + j));
    VF error = cost(0, codes);
    for (size_t k = 1; k < 8; ++k) {
      codes = hn::ShiftRight<2>(codes);
      error = hn::Add(error, cost(k, codes));
    }
    const MF better = hn::Lt(error, best);
    best = hn::IfThenElse(better, error, best);
    best_at = hn::IfThenElse(hn::RebindMask(di, better), at, best_at);
    at = hn::Add(at, hn::Set(di, static_cast<int32_t>(kLanes)));
  }
  // The first of the best.
  const auto is_best = hn::RebindMask(di, hn::Eq(best, hn::MinOfLanes(df, best)));
  const VI first = hn::IfThenElse(is_best, best_at, hn::Set(di, 0x7FFFFFFF));
  return near[static_cast<size_t>(hn::GetLane(hn::MinOfLanes(di, first)))];
#endif
}

// kLanes blocks: transposed, and what was found for them.
template <class Sums>
struct Blocks {
  static constexpr size_t kN = Sums::kN;
  HWY_ALIGN float x[kN * kLanes];
  HWY_ALIGN float weights[kN * kLanes];
  HWY_ALIGN uint64_t codes[kLanes];  // 2 bits per weight, before the grid
  HWY_ALIGN int32_t number[kLanes];
  HWY_ALIGN float scales[kLanes];
  HWY_ALIGN float refit[kLanes];
  HWY_ALIGN int32_t shifts[2][kLanes];  // of each half: 0 or 1
  HWY_ALIGN int32_t points[kN / 8][kLanes];
};

// Levels of the split, at the places where the weights were before they were sorted.
template <size_t kN>
HWY_INLINE void LevelCodes(const Sorted<kN>& sorted, const int32_t* number, uint64_t* codes) {
  const DU64 du64;
  const hn::RebindToSigned<DU64> di64;
  const hn::Rebind<int32_t, DD> di32;
  const auto one = hn::Set(du64, 1);
  for (size_t l = 0; l < kLanes; l += kDoubles) {
    const auto split = hn::PromoteTo(di64, hn::ShiftRight<2>(hn::Load(di32, number + l)));
    const auto low = hn::ShiftRight<6>(split);
    const auto high = hn::And(split, hn::Set(di64, 63));
    auto code = hn::Zero(du64);
    for (size_t j = 0; j < kN; ++j) {
      const auto place =
          hn::BitCast(du64, hn::PromoteTo(di64, hn::Load(di32, sorted.places + j * kLanes + l)));
      const auto bit = hn::Shl(one, hn::Add(place, place));
      const auto at = hn::Set(di64, static_cast<int64_t>(j));
      const auto zero_level = hn::RebindMask(du64, hn::Gt(low, at));
      const auto below_two = hn::RebindMask(du64, hn::Gt(high, at));
      code = hn::Add(code, hn::IfThenZeroElse(zero_level, bit));
      code = hn::Add(code, hn::IfThenZeroElse(below_two, bit));
    }
    hn::Store(code, du64, codes + l);
  }
}

// The scales that fit the points of the grid best, where there is one.
template <class Sums>
HWY_INLINE void RefitScales(Blocks<Sums>* blocks) {
  const DF df;
  const DI di;
  VF xq = hn::Zero(df);
  VF qq = xq;
  for (size_t k = 0; k < Sums::kN / 8; ++k) {
    const VI lowered = hn::Load(di, blocks->shifts[16 * k / Sums::kN]);
    const VF shift = hn::IfThenElse(hn::RebindMask(df, hn::Eq(lowered, hn::Zero(di))),
                                    hn::Set(df, kIQ1Delta), hn::Set(df, -kIQ1Delta));
    VI code = hn::Load(di, blocks->points[k]);
    for (size_t i = 8 * k; i < 8 * k + 8; ++i) {
      const VI level = hn::Sub(hn::And(code, hn::Set(di, 3)), hn::Set(di, 1));
      const VF q = hn::Add(hn::ConvertTo(df, level), shift);
      const VF wq = hn::Mul(LoadLanes(blocks->weights, i), q);
      xq = hn::Add(xq, hn::Mul(wq, LoadLanes(blocks->x, i)));
      qq = hn::Add(qq, hn::Mul(wq, q));
      code = hn::ShiftRight<2>(code);
    }
  }
  const MF solvable = hn::And(hn::And(hn::Gt(xq, hn::Zero(df)), hn::Gt(qq, hn::Zero(df))),
                              hn::Ne(hn::Load(df, blocks->refit), hn::Zero(df)));
  hn::Store(hn::IfThenElse(solvable, hn::Div(xq, qq), hn::Load(df, blocks->scales)), df,
            blocks->scales);
}

// Takes the split of block j of the lanes, block b of the superblock, to the grid.
template <class Sums>
HWY_INLINE void ToGrid(const Grid& grid, const IQ1Superblock& work, size_t b, size_t j,
                       Blocks<Sums>* blocks) {
  constexpr size_t kN = Sums::kN;
  uint64_t code = blocks->codes[j];
  int lowered = Sums::kLowered[blocks->number[j] & 3];
  if (blocks->scales[j] < 0) {
    blocks->scales[j] = -blocks->scales[j];
    code = 0xAAAAAAAAAAAAAAAAu - code;  // level 2 for 0
    lowered ^= kBothLowered;
  }
  blocks->shifts[0][j] = lowered & 1;
  blocks->shifts[1][j] = lowered >> 1;
  bool all_on_grid = true;
  for (size_t k = 0; k < kN / 8; ++k) {
    uint32_t point = code >> (16 * k) & 0xFFFF;
    if (grid.Find(point) < 0) {
      all_on_grid = false;
      const size_t first = b * kN + 8 * k;
      point = BestNear(grid, work.x + first, work.weights + first,
                       kIQ1Values[blocks->shifts[16 * k / kN][j]], blocks->scales[j], point);
    }
    blocks->points[k][j] = static_cast<int32_t>(point);
  }
  blocks->refit[j] = all_on_grid ? 0 : 1;
}

// Blocks first..first+kLanes of the superblock.
template <class Sums>
HWY_NOINLINE void FitLanes(const IQ1Type& type, const Grid& grid, size_t first,
                           IQ1Superblock* work) {
  constexpr size_t kN = Sums::kN;
  const DF df;
  Blocks<Sums> blocks{};
  const float* rows[kLanes];
  for (size_t j = 0; j < kLanes; ++j) rows[j] = work->x + (first + j) * kN;
  Transpose(rows, kLanes, kN, blocks.x);
  for (size_t j = 0; j < kLanes; ++j) rows[j] = work->weights + (first + j) * kN;
  Transpose(rows, kLanes, kN, blocks.weights);

  VF largest = hn::Zero(df);
  VF spread = largest;  // stays 0 unless a weight is not finite
  for (size_t i = 0; i < kN; ++i) {
    const VF x = LoadLanes(blocks.x, i);
    largest = hn::Max(largest, hn::Abs(x));
    spread = hn::Add(spread, hn::Sub(x, x));
  }
  if (HWY_UNLIKELY(!hn::AllTrue(df, hn::Eq(spread, hn::Zero(df))))) {
    for (size_t j = 0; j < kLanes; ++j) FitIQ1Block(type, grid, first + j, work);
    return;
  }
  const MF live = hn::Ge(largest, hn::Set(df, type.zero_block));
  Sorted<kN> sorted;
  Sort<kN>(blocks.x, blocks.weights, &sorted);
  const Sums sums(sorted);
  const BestSplit best = BestSplits(sums, live);
  const VI none = hn::Set(DI(), -1);
  hn::Store(hn::IfThenElse(hn::RebindMask(DI(), live), best.number, none), DI(), blocks.number);
  hn::Store(best.scale, df, blocks.scales);
  LevelCodes<kN>(sorted, blocks.number, blocks.codes);
  bool found[kLanes];
  for (size_t j = 0; j < kLanes; ++j) {
    found[j] = blocks.number[j] >= 0 && std::isfinite(blocks.scales[j]);
    if (found[j]) ToGrid(grid, *work, first + j, j, &blocks);
  }
  RefitScales(&blocks);
  for (size_t j = 0; j < kLanes; ++j) {
    IQ1Fit& fit = work->fits[first + j];
    fit = {};
    if (!found[j]) continue;
    fit.scale = blocks.scales[j];
    fit.lowered = blocks.shifts[0][j] | blocks.shifts[1][j] << 1;
    for (size_t k = 0; k < kN / 8; ++k) fit.codes[k] = static_cast<uint16_t>(blocks.points[k][j]);
  }
}

}  // namespace iq1

void FitIQ1S(const IQ1Type& type, const Grid& grid, IQ1Superblock* work) {
  constexpr size_t kBlocks = kSuperblock / iq1::SumsS::kN;
  for (size_t b = 0; b < kBlocks; b += iq1::kLanes) iq1::FitLanes<iq1::SumsS>(type, grid, b, work);
}

void FitIQ1M(const IQ1Type& type, const Grid& grid, IQ1Superblock* work) {
  constexpr size_t kBlocks = kSuperblock / iq1::SumsM::kN;
  for (size_t b = 0; b < kBlocks; b += iq1::kLanes) iq1::FitLanes<iq1::SumsM>(type, grid, b, work);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(FitIQ1S);
HWY_EXPORT(FitIQ1M);

void FitS(const IQ1Type& type, const Grid& grid, IQ1Superblock* work) {
  HWY_DYNAMIC_DISPATCH(FitIQ1S)(type, grid, work);
}
void FitM(const IQ1Type& type, const Grid& grid, IQ1Superblock* work) {
  HWY_DYNAMIC_DISPATCH(FitIQ1M)(type, grid, work);
}

template <const IQ1Type& kType, FitIQ1Fn kFit>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  QuantizeIQ1(kType, kFit, weights, blocks, rows, columns, imatrix);
}

template <const GridType& kLayout>
void Dequantize(const uint8_t* blocks, float* weights, size_t count) noexcept {
  DequantizeGrid(kLayout, blocks, weights, count);
}

}  // namespace

constinit const Codec kIQ1SCodec = {TensorType::kIQ1_S,
                                    true,
                                    Quantize<kIQ1SType, FitS>,
                                    Dequantize<kIQ1SLayout>,
                                    Quantize<kIQ1SType, FitIQ1Reference>,
                                    Dequantize<kIQ1SLayout>};
constinit const Codec kIQ1MCodec = {TensorType::kIQ1_M,
                                    false,
                                    Quantize<kIQ1MType, FitM>,
                                    Dequantize<kIQ1MLayout>,
                                    Quantize<kIQ1MType, FitIQ1Reference>,
                                    Dequantize<kIQ1MLayout>};

}  // namespace quern::quant
#endif  // HWY_ONCE
