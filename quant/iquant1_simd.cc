// Vector IQ1_S and IQ1_M: the split (iquant1_split-inl.h), its way to the grid
// (iquant1_near-inl.h), scales. All float operations are made in the order of iquant1_ref.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/iquant1_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <cmath>

#include "quant/blocks.h"
#include "quant/codecs.h"
#include "quant/iquant1_near-inl.h"
#include "quant/iquant1_ref.h"
#include "quant/iquant1_split-inl.h"
#include "quant/iquant_grids.h"
#include "quant/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace iq1 {

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
template <size_t kN>
HWY_INLINE void RefitScales(Blocks<kN>* blocks) {
  const DF df;
  const DI di;
  VF xq = hn::Zero(df);
  VF qq = xq;
  for (size_t k = 0; k < kN / 8; ++k) {
    const VF shift = Shift(blocks->shifts[16 * k / kN]);
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

// Blocks first..first+kLanes of the superblock.
template <class Sums>
HWY_NOINLINE void FitLanes(const IQ1Type& type, const Grid& grid, size_t first,
                           IQ1Superblock* work) {
  constexpr size_t kN = Sums::kN;
  const DF df;
  Blocks<kN> blocks;
  const float* x = work->x + first * kN;
  const float* weights = work->weights + first * kN;
  const float* rows[kLanes];
  for (size_t j = 0; j < kLanes; ++j) rows[j] = x + j * kN;
  Transpose(rows, kLanes, kN, blocks.x);
  for (size_t j = 0; j < kLanes; ++j) rows[j] = weights + j * kN;
  Transpose(rows, kLanes, kN, blocks.weights);

  VF largest = hn::Zero(df);
  VF spread = largest;  // stays 0 unless a weight is not finite
  for (size_t i = 0; i < kN; ++i) {
    const VF value = LoadLanes(blocks.x, i);
    largest = hn::Max(largest, hn::Abs(value));
    spread = hn::Add(spread, hn::Sub(value, value));
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
  for (size_t j = 0; j < kLanes; ++j) {
    blocks.found[j] = blocks.number[j] >= 0 && std::isfinite(blocks.scales[j]);
    if (!blocks.found[j]) blocks.scales[j] = 0;
  }
  ToGrid<Sums>(grid, x, weights, &blocks);
  RefitScales(&blocks);
  for (size_t j = 0; j < kLanes; ++j) {
    IQ1Fit& fit = work->fits[first + j];
    fit = {};
    if (!blocks.found[j]) continue;
    fit.scale = blocks.scales[j];
    fit.lowered = blocks.shifts[0][j] | blocks.shifts[1][j] << 1;
    for (size_t k = 0; k < kN / 8; ++k) fit.codes[k] = static_cast<uint16_t>(blocks.points[k][j]);
  }
}

// sums[s] = of a[s][i] * b[s][i], in this order; the chains hide each other.
HWY_INLINE void SumProducts(const float* const* a, const float* const* b, float* sums) {
  float totals[kIQ1AtOnce] = {};
  for (size_t i = 0; i < kSuperblock; ++i) {
    for (size_t s = 0; s < kIQ1AtOnce; ++s) totals[s] += a[s][i] * b[s][i];
  }
  for (size_t s = 0; s < kIQ1AtOnce; ++s) sums[s] = totals[s];
}

void ErrorWeights(IQ1Superblock* work, size_t count) {
  const DF df;
  float squares[kIQ1AtOnce] = {};
  if (work->importance) {
    const float* rows[kIQ1AtOnce];
    for (size_t s = 0; s < kIQ1AtOnce; ++s) rows[s] = work[s < count ? s : 0].x;
    SumProducts(rows, rows, squares);
  }
  for (size_t s = 0; s < count; ++s) {
    const VF sigma2 = hn::Set(df, 2 * squares[s] / static_cast<float>(kSuperblock));
    for (size_t i = 0; i < kSuperblock; i += kLanes) {
      const VF x = hn::LoadU(df, work[s].x + i);
      VF weight = hn::Mul(x, x);
      if (work->importance) {
        weight = hn::Mul(hn::LoadU(df, work[s].importance + i), hn::Sqrt(hn::Add(sigma2, weight)));
      }
      hn::Store(weight, df, work[s].weights + i);
    }
  }
}

template <class Sums>
void Fit(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count) {
  ErrorWeights(work, count);
  for (size_t s = 0; s < count; ++s) {
    for (size_t b = 0; b < kSuperblock / Sums::kN; b += kLanes) {
      FitLanes<Sums>(type, grid, b, work + s);
    }
  }
}

// What the weights are stored as, but for d, and that times the weights of their errors.
template <size_t kN>
void StoredValues(const IQ1Superblock& work, float* q, float* wq) {
  const DF df;
  const DI di;
  const VI one = hn::Set(di, 1);
  for (size_t g = 0; g < kSuperblock / 8; ++g) {
    const IQ1Fit& fit = work.fits[8 * g / kN];
    const size_t k = g % (kN / 8);
    const VF shift = hn::Set(df, fit.Lowered(kN, k) ? -kIQ1Delta : kIQ1Delta);
    const VF factor = hn::Set(df, static_cast<float>(2 * work.scales[8 * g / kN] + 1));
    for (size_t i = 0; i < 8; i += kLanes) {
      const VI place = hn::Iota(di, static_cast<int32_t>(i));
      const VI code = hn::Set(di, static_cast<int32_t>(fit.codes[k]));
      const VI level = hn::And(hn::Shr(code, hn::Add(place, place)), hn::Set(di, 3));
      const VF value = hn::Add(hn::ConvertTo(df, hn::Sub(level, one)), shift);
      const VF stored = hn::Mul(value, factor);
      hn::Store(stored, df, q + 8 * g + i);
      hn::Store(hn::Mul(hn::Load(df, work.weights + 8 * g + i), stored), df, wq + 8 * g + i);
    }
  }
}

// As DequantizeGrid. kScaled: groups of 8 that share a scale.
template <size_t kScaled>
HWY_INLINE void Decode(const GridType& type, const uint8_t* blocks, float* weights, size_t count) {
  const DF df;
  const DI di;
  const uint16_t* codes = CodesOf(type.grid).codes.data();
  const VI one = hn::Set(di, 1);
  GridQuants quants;
  for (size_t done = 0; done < count; done += kSuperblock, blocks += type.bytes) {
    type.unpack(blocks, &quants);
    const float d = F16ToF32(quants.d);
    for (size_t g = 0; g < kSuperblock / 8; ++g, weights += 8) {
      const float level = type.offset + type.step * quants.scale[g / kScaled];
      const VF scale = hn::Set(df, d * level * type.factor);
      const VF shift = hn::Set(df, quants.lowered[g] ? -type.shift : type.shift);
      const VI code = hn::Set(di, codes[quants.index[g]]);
      for (size_t i = 0; i < 8; i += kLanes) {
        const VI place = hn::Iota(di, static_cast<int32_t>(i));
        const VI levels = hn::And(hn::Shr(code, hn::Add(place, place)), hn::Set(di, 3));
        const VF value = hn::Add(hn::ConvertTo(df, hn::Sub(levels, one)), shift);
        hn::StoreU(hn::Mul(scale, value), df, weights + i);
      }
    }
  }
}

}  // namespace iq1

void DecodeIQ1S(const uint8_t* blocks, float* weights, size_t count) {
  iq1::Decode<4>(kIQ1SLayout, blocks, weights, count);
}

void DecodeIQ1M(const uint8_t* blocks, float* weights, size_t count) {
  iq1::Decode<2>(kIQ1MLayout, blocks, weights, count);
}

void FitIQ1S(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count) {
  iq1::Fit<iq1::SumsS>(type, grid, work, count);
}

void FitIQ1M(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count) {
  iq1::Fit<iq1::SumsM>(type, grid, work, count);
}

void RefitIQ1M(IQ1Superblock* work, size_t count) {
  HWY_ALIGN float q[kIQ1AtOnce][kSuperblock];
  HWY_ALIGN float wq[kIQ1AtOnce][kSuperblock];
  const float* q_rows[kIQ1AtOnce];
  const float* wq_rows[kIQ1AtOnce];
  const float* x_rows[kIQ1AtOnce];
  for (size_t s = 0; s < kIQ1AtOnce; ++s) {
    const size_t from = s < count ? s : 0;
    if (from == s) iq1::StoredValues<iq1::SumsM::kN>(work[s], q[s], wq[s]);
    q_rows[s] = q[from];
    wq_rows[s] = wq[from];
    x_rows[s] = work[from].x;
  }
  float xq[kIQ1AtOnce];
  float qq[kIQ1AtOnce];
  iq1::SumProducts(wq_rows, x_rows, xq);
  iq1::SumProducts(wq_rows, q_rows, qq);
  for (size_t s = 0; s < count; ++s) {
    if (qq[s] > 0) work[s].d = xq[s] / qq[s];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(FitIQ1S);
HWY_EXPORT(FitIQ1M);
HWY_EXPORT(RefitIQ1M);
HWY_EXPORT(DecodeIQ1S);
HWY_EXPORT(DecodeIQ1M);

void FitS(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count) {
  HWY_DYNAMIC_DISPATCH(FitIQ1S)(type, grid, work, count);
}
void FitM(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count) {
  HWY_DYNAMIC_DISPATCH(FitIQ1M)(type, grid, work, count);
}
void RefitM(IQ1Superblock* work, size_t count) { HWY_DYNAMIC_DISPATCH(RefitIQ1M)(work, count); }
constexpr IQ1Search kSearchS = {FitS, nullptr};
constexpr IQ1Search kSearchM = {FitM, RefitM};

template <const IQ1Type& kType, const IQ1Search& kSearch>
void Quantize(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
              const float* imatrix) noexcept {
  QuantizeIQ1(kType, kSearch, weights, blocks, rows, columns, imatrix);
}

void DequantizeS(const uint8_t* blocks, float* weights, size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(DecodeIQ1S)(blocks, weights, count);
}
void DequantizeM(const uint8_t* blocks, float* weights, size_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(DecodeIQ1M)(blocks, weights, count);
}

template <const GridType& kLayout>
void DequantizeReference(const uint8_t* blocks, float* weights, size_t count) noexcept {
  DequantizeGrid(kLayout, blocks, weights, count);
}

void SetUp() { GridOf(GridId::kIQ1); }

}  // namespace

constinit const Codec kIQ1SCodec = {TensorType::kIQ1_S,
                                    true,
                                    Quantize<kIQ1SType, kSearchS>,
                                    DequantizeS,
                                    Quantize<kIQ1SType, kIQ1SReference>,
                                    DequantizeReference<kIQ1SLayout>,
                                    SetUp};
constinit const Codec kIQ1MCodec = {TensorType::kIQ1_M,
                                    false,
                                    Quantize<kIQ1MType, kSearchM>,
                                    DequantizeM,
                                    Quantize<kIQ1MType, kIQ1MReference>,
                                    DequantizeReference<kIQ1MLayout>,
                                    SetUp};

}  // namespace quern::quant
#endif  // HWY_ONCE
