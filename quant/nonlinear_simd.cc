// Vector IQ4_NL and IQ4_XS: the search with a block per lane, as in kquant_simd.cc, the final
// levels with a weight per lane.
//
// The level of a value comes from a table of cells of width 14, each of which holds one bound (the
// bounds are 11.5 to 22 apart, and such cells can be laid through them): the cell gives the bound,
// the comparison the level. The cell may be off by rounding: bounds are no nearer than 0.5 to an
// edge between cells (CellsHoldOneBound).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/nonlinear_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <utility>

#include "quant/codecs.h"
#include "quant/lanes-inl.h"
#include "quant/nonlinear_ref.h"

#ifndef QUERN_QUANT_NONLINEAR_SIMD_ONCE_
#define QUERN_QUANT_NONLINEAR_SIMD_ONCE_
namespace quern::quant {

// Cell c holds the values around 14c - 103, c = 0..14.
inline constexpr float kCellWidth = 14;
inline constexpr float kFirstCell = -103;
inline constexpr int kCells = 15;

constexpr bool CellsHoldOneBound() {
  for (int c = 0; c < kCells; ++c) {
    const float center = kFirstCell + kCellWidth * static_cast<float>(c);
    const bool first = c == 0;
    const bool last = c == kCells - 1;
    if (!first && kNonlinearBounds[c] < center - kCellWidth / 2 + 0.5f) return false;
    if (!last && kNonlinearBounds[c] > center + kCellWidth / 2 - 0.5f) return false;
  }
  return true;
}
static_assert(CellsHoldOneBound());

// Tables of 16 floats: the bound of a cell, the value of a level.
struct NonlinearTables {
  alignas(64) float bounds[16];
  alignas(64) float values[16];
};
inline constexpr NonlinearTables kNonlinearTables = [] {
  NonlinearTables tables{};
  for (int i = 0; i < 16; ++i) {
    tables.bounds[i] = kNonlinearBounds[i < kCells ? i : kCells - 1];
    tables.values[i] = kNonlinear[i];
  }
  return tables;
}();

}  // namespace quern::quant
#endif  // QUERN_QUANT_NONLINEAR_SIMD_ONCE_

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// A table of 16 floats, in as many registers as it takes.
class Table16 {
 public:
  explicit Table16(const float* table) : table_(table) {
    if constexpr (hn::MaxLanes(DF()) >= 8) {
      low_ = hn::Load(DF(), table);
      high_ = hn::Load(DF(), table + 16 - hn::MaxLanes(DF()));
    }
  }

  // index: 0..15.
  HWY_INLINE VF operator[](VI index) const {
    const DF df;
    if constexpr (hn::MaxLanes(DF()) >= 16) {
      return hn::TableLookupLanes(low_, hn::IndicesFromVec(df, index));
    } else if constexpr (hn::MaxLanes(DF()) == 8) {
      const auto within = hn::IndicesFromVec(df, hn::And(index, hn::Set(DI(), 7)));
      const MF upper = hn::RebindMask(df, hn::Gt(index, hn::Set(DI(), 7)));
      return hn::IfThenElse(upper, hn::TableLookupLanes(high_, within),
                            hn::TableLookupLanes(low_, within));
    } else {
      return hn::GatherIndex(df, table_, index);
    }
  }

 private:
  const float* table_;
  VF low_;
  VF high_;
};

struct Levels {
  Table16 bounds{kNonlinearTables.bounds};
  Table16 values{kNonlinearTables.values};

  // The level nearest to a value; no NaN.
  HWY_INLINE VI Index(VF value) const {
    const DF df;
    const DI di;
    const VF position =
        hn::Mul(hn::Sub(value, hn::Set(df, kFirstCell)), hn::Set(df, 1 / kCellWidth));
    const VF limited = hn::Min(hn::Max(position, hn::Zero(df)), hn::Set(df, kCells - 1.f));
    const VI cell = hn::NearestInt(limited);
    const MF above = hn::Ge(value, bounds[cell]);
    return hn::Sub(cell, hn::VecFromMask(di, hn::RebindMask(di, above)));
  }
  HWY_INLINE VF Value(VF value) const { return values[Index(value)]; }
  template <class T>
  HWY_INLINE Pair<T> Value(const Pair<T>& value) const {
    return {Value(value.lo), Value(value.hi)};
  }
};

using W = Pair<VF>;
using O = LaneOps<W>;
constexpr size_t kLanes = O::Lanes();

struct LaneSums {
  W xq;
  W qq;
};

HWY_INLINE LaneSums Evaluate(const Levels& levels, const float* x, const float* weights,
                             const W& inverse) {
  LaneSums sums{O::Set(0), O::Set(0)};
  for (size_t i = 0; i < kBlock * kLanes; i += kLanes) {
    const W xi = O::Load(x + i);
    const W q = levels.Value(Mul(inverse, xi));
    const W wq = Mul(O::Load(weights + i), q);
    sums.xq = Add(sums.xq, Mul(wq, xi));
    sums.qq = Add(sums.qq, Mul(wq, q));
  }
  return sums;
}

// Scales of kLanes blocks. x and weights are transposed. False in a lane of `exact` where weights
// are not finite.
HWY_NOINLINE void FitLanes(const float* x, const float* weights, float* scales, float* exact) {
  const Levels levels;
  const W zero = O::Set(0);
  W extreme = zero;
  W spread = zero;  // stays 0 unless a weight is not finite
  for (size_t i = 0; i < kBlock * kLanes; i += kLanes) {
    const W xi = O::Load(x + i);
    extreme = IfThenElse(Gt(Abs(xi), Abs(extreme)), xi, extreme);
    spread = Add(spread, Sub(xi, xi));
  }
  const auto finite = Eq(spread, zero);
  const auto live = And(finite, Not(Lt(Abs(extreme), O::Set(1e-15f))));
  extreme = IfThenElse(live, extreme, O::Set(1));
  const W one = O::Set(1);
  const W first = Div(one, Div(extreme, O::Set(-static_cast<float>(kNonlinear[0]))));
  LaneSums sums = Evaluate(levels, x, weights, first);
  W scale = IfThenElse(Gt(sums.qq, zero), Div(sums.xq, sums.qq), zero);
  W best = Mul(scale, sums.xq);
  for (int step = -kNonlinearSteps; step <= kNonlinearSteps; ++step) {
    const W inverse = Div(O::Set(static_cast<float>(step + kNonlinear[0])), extreme);
    sums = Evaluate(levels, x, weights, inverse);
    const auto better = And(Gt(sums.qq, zero), Gt(Mul(sums.xq, sums.xq), Mul(best, sums.qq)));
    const W candidate = Div(sums.xq, sums.qq);
    scale = IfThenElse(better, candidate, scale);
    best = IfThenElse(better, Mul(candidate, sums.xq), best);
  }
  O::Store(IfThenElse(live, scale, zero), scales);
  O::Store(IfThenElse(finite, one, zero), exact);
}

// Levels of 32 weights at 16 bytes.
HWY_INLINE void StoreLevels(const Levels& levels, const float* x, float inverse, uint8_t* qs) {
  using DU8 = hn::Rebind<uint8_t, DF>;
  const DF df;
  const DI di;
  HWY_ALIGN uint8_t q[kBlock];
  for (size_t i = 0; i < kBlock; i += hn::Lanes(df)) {
    const VF value = hn::Mul(hn::Set(df, inverse), hn::LoadU(df, x + i));
    const auto nan = hn::RebindMask(di, hn::IsNaN(value));
    const VI index = levels.Index(hn::IfThenZeroElse(hn::IsNaN(value), value));
    hn::StoreU(hn::DemoteTo(DU8(), hn::IfThenElse(nan, hn::Set(di, 15), index)), DU8(), q + i);
  }
  for (size_t j = 0; j < kBlock / 2; ++j) qs[j] = static_cast<uint8_t>(q[j] | q[j + 16] << 4);
}

// Blocks first..first+kLanes of all blocks; those behind the end repeat the last.
struct Source {
  const float* weights;
  const float* imatrix;
  size_t columns;
  size_t total;

  const float* X(size_t block) const { return weights + std::min(block, total - 1) * kBlock; }
  const float* Importance(size_t block) const {
    return imatrix + std::min(block, total - 1) * kBlock % columns;
  }
};

// sums[k] = of the squares of `n` weights from starts[k]; the chains hide each other.
template <size_t... k>
void SumSquares(const float* const* starts, size_t n, float* sums, std::index_sequence<k...>) {
  float totals[] = {(static_cast<void>(k), 0.f)...};
  for (size_t i = 0; i < n; ++i) ((totals[k] += starts[k][i] * starts[k][i]), ...);
  ((sums[k] = totals[k]), ...);
}

// kSigmaBlocks: blocks that share their mean square, 1 or 8.
template <size_t kSigmaBlocks>
void Sigma2(const Source& source, size_t first, float* sigma2) {
  constexpr size_t kRuns = std::max<size_t>(1, kLanes / kSigmaBlocks);
  constexpr size_t kWeights = kSigmaBlocks * kBlock;
  const float* starts[kRuns];
  float sums[kRuns];
  for (size_t r = 0; r < kRuns; ++r) {
    const size_t block = std::min(first + r * kSigmaBlocks, source.total - 1);
    starts[r] = source.X(block / kSigmaBlocks * kSigmaBlocks);
  }
  SumSquares(starts, kWeights, sums, std::make_index_sequence<kRuns>());
  for (size_t j = 0; j < kLanes; ++j) {
    sigma2[j] = sums[j / kSigmaBlocks] * (2.0f / static_cast<float>(kWeights));
  }
}

template <size_t kSigmaBlocks>
HWY_NOINLINE void Fit(const Source& source, size_t first, float* scales, float* exact) {
  HWY_ALIGN float x[kBlock * kLanes];
  HWY_ALIGN float weights[kBlock * kLanes];
  const float* rows[kLanes];
  for (size_t j = 0; j < kLanes; ++j) rows[j] = source.X(first + j);
  Transpose(rows, kLanes, kBlock, x);
  if (source.imatrix == nullptr) {
    for (size_t i = 0; i < kBlock * kLanes; i += kLanes) {
      O::Store(Mul(O::Load(x + i), O::Load(x + i)), weights + i);
    }
  } else {
    HWY_ALIGN float sigma2[kLanes];
    Sigma2<kSigmaBlocks>(source, first, sigma2);
    for (size_t j = 0; j < kLanes; ++j) rows[j] = source.Importance(first + j);
    Transpose(rows, kLanes, kBlock, weights);
    for (size_t i = 0; i < kBlock * kLanes; i += kLanes) {
      const W square = Mul(O::Load(x + i), O::Load(x + i));
      const W size = Sqrt(Add(O::Load(sigma2), square));
      O::Store(Mul(O::Load(weights + i), size), weights + i);
    }
  }
  FitLanes(x, weights, scales, exact);
}

void QuantizeNL(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* imatrix) {
  const Source source{weights, imatrix, columns, rows * columns / kBlock};
  const Levels levels;
  HWY_ALIGN float scales[kLanes];
  HWY_ALIGN float exact[kLanes];
  for (size_t first = 0; first < source.total; first += kLanes) {
    Fit<1>(source, first, scales, exact);
    for (size_t j = 0; j < kLanes && first + j < source.total; ++j) {
      uint8_t* block = blocks + (first + j) * kIQ4NLBytes;
      if (exact[j] == 0) {
        const float* importance = imatrix ? source.Importance(first + j) : nullptr;
        QuantizeIQ4NLReference(source.X(first + j), block, 1, kBlock, importance);
        continue;
      }
      Store16(block, F32ToF16(scales[j]));
      StoreLevels(levels, source.X(first + j), InverseOrZero(scales[j]), block + 2);
    }
  }
}

void FinishXS(const Levels& levels, const float* x, const float* scales, uint8_t* block) {
  const NonlinearScales stored = QuantizeNonlinearScales(scales);
  StoreNonlinearScales(stored, block);
  for (size_t b = 0; b < 8; ++b) {
    const float scale = stored.d * static_cast<float>(stored.multiple[b]);
    StoreLevels(levels, x + kBlock * b, InverseOrZero(scale), block + 8 + 16 * b);
  }
}

void QuantizeXS(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* imatrix) {
  constexpr size_t kAtOnce = std::max<size_t>(kLanes, 8);  // blocks
  const Source source{weights, imatrix, columns, rows * columns / kBlock};
  const Levels levels;
  HWY_ALIGN float scales[kAtOnce];
  HWY_ALIGN float exact[kAtOnce];
  for (size_t first = 0; first < source.total; first += kAtOnce) {
    for (size_t lane = 0; lane < kAtOnce; lane += kLanes) {
      Fit<8>(source, first + lane, scales + lane, exact + lane);
    }
    for (size_t b = 0; b < kAtOnce && first + b < source.total; b += 8) {
      const float* x = source.X(first + b);
      uint8_t* block = blocks + (first + b) / 8 * kIQ4XSBytes;
      if (std::find(exact + b, exact + b + 8, 0.f) == exact + b + 8) {
        FinishXS(levels, x, scales + b, block);
      } else {
        const float* importance = imatrix ? source.Importance(first + b) : nullptr;
        QuantizeIQ4XSReference(x, block, 1, kSuperblock, importance);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(QuantizeNL);
HWY_EXPORT(QuantizeXS);

void QuantizeIQ4NL(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                   const float* imatrix) noexcept {
  HWY_DYNAMIC_DISPATCH(QuantizeNL)(weights, blocks, rows, columns, imatrix);
}

void QuantizeIQ4XS(const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                   const float* imatrix) noexcept {
  HWY_DYNAMIC_DISPATCH(QuantizeXS)(weights, blocks, rows, columns, imatrix);
}

}  // namespace

constinit const Codec kIQ4NLCodec = {TensorType::kIQ4_NL,    false,
                                     QuantizeIQ4NL,          DequantizeIQ4NLReference,
                                     QuantizeIQ4NLReference, DequantizeIQ4NLReference};
constinit const Codec kIQ4XSCodec = {TensorType::kIQ4_XS,    false,
                                     QuantizeIQ4XS,          DequantizeIQ4XSReference,
                                     QuantizeIQ4XSReference, DequantizeIQ4XSReference};

}  // namespace quern::quant
#endif  // HWY_ONCE
