// Vector kernels of the weighted search of Q4_0, Q4_1, Q5_0 and Q5_1 (legacy_ref.cc defines it).
//
// A lane is a block: every lane runs the scalar search in the scalar order, so that sums round
// equally, and branches become blends. Blocks of up to eight rows are one queue; the last lanes are
// filled with blocks of zeros.
//
// Quants are rounded by adding and subtracting 1.5 * 2^23, which is NearestInt as long as values
// stay below 2^22. The scale search guarantees that; the search with min checks the ends of the
// block for each candidate and takes the integer way where they do not.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/legacy_search_simd.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "quant/blocks.h"
#include "quant/codec.h"
#include "quant/legacy_ref.h"
#include "quant/legacy_search.h"
#include "quant/wide-inl.h"

#ifndef QUERN_QUANT_LEGACY_SEARCH_ONCE_
#define QUERN_QUANT_LEGACY_SEARCH_ONCE_
namespace quern::quant {

// Rows whose blocks are queued together.
inline constexpr size_t kRowsPerBatch = 8;

// Rows [0, rows) of a matrix, rows <= kRowsPerBatch, all mean squares finite.
struct SearchBatch {
  const float* weights;
  uint8_t* blocks;
  size_t rows;
  size_t columns;
  const float* imatrix;
  float mean_squares[kRowsPerBatch];
};

}  // namespace quern::quant
#endif  // QUERN_QUANT_LEGACY_SEARCH_ONCE_

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One block per lane: element i of all blocks is one Wide.
struct Lanes {
  HWY_ALIGN float x[kBlock * kMaxWideLanes];
  HWY_ALIGN float w[kBlock * kMaxWideLanes];
  HWY_ALIGN float wx[kBlock * kMaxWideLanes];  // w * x
  HWY_ALIGN float l[kBlock * kMaxWideLanes];   // quants
};

// The result of a search: quants are in Lanes::l, as stored.
struct LaneFit {
  Wide scale;
  Wide min;
};

// --- without min ---------------------------------------------------------------------------------

struct ScaleSums {
  Wide xl;
  Wide ll;
};

// kClampBelow: whether the quant can fall below -zero_point, see EvaluateCandidate.
template <bool kClampBelow>
HWY_INLINE Wide ScaleQuant(Wide v, int zero_point) {
  Wide l = RoundSmall(v);
  if constexpr (kClampBelow) l = Max(l, Splat(static_cast<float>(-zero_point)));
  return Min(l, Splat(static_cast<float>(zero_point - 1)));
}

template <bool kClampBelow>
HWY_INLINE ScaleSums EvaluateScale(const Lanes& lanes, Wide inverse, int zero_point) {
  ScaleSums sums{Splat(0), Splat(0)};
  for (size_t i = 0; i < kBlock; ++i) {
    const Wide l = ScaleQuant<kClampBelow>(inverse * At(lanes.x, i), zero_point);
    sums.xl = sums.xl + At(lanes.wx, i) * l;
    sums.ll = sums.ll + At(lanes.w, i) * l * l;
  }
  return sums;
}

// With inverse = -(zero_point + 0.1 step) / extreme no product exceeds zero_point + 0.1 step in
// size by more than rounding, so that below step 5 it is rounded to -zero_point at the least.
HWY_INLINE ScaleSums EvaluateCandidate(const Lanes& lanes, Wide inverse, int zero_point, int step) {
  return step < 5 ? EvaluateScale<false>(lanes, inverse, zero_point)
                  : EvaluateScale<true>(lanes, inverse, zero_point);
}

HWY_INLINE LaneFit SearchScale(Lanes& lanes, int zero_point) {
  const Wide zero = Splat(0);
  Wide extreme = zero;
  for (size_t i = 0; i < kBlock; ++i) {
    const Wide x = At(lanes.x, i);
    extreme = Select(Abs(x) > Abs(extreme), x, extreme);
  }
  const WideMask dead = Abs(extreme) < Splat(kZeroBlock);
  extreme = Select(dead, Splat(1), extreme);

  Wide best_inverse = Splat(ScaleCandidate(zero_point, 0)) / extreme;
  ScaleSums sums = EvaluateCandidate(lanes, best_inverse, zero_point, 0);
  Wide scale = Select(sums.ll == zero, zero, sums.xl / sums.ll);
  Wide best_gain = scale * sums.xl;
  for (int step = -kScaleSteps; step <= kScaleSteps; ++step) {
    if (step == 0) continue;
    const Wide inverse = Splat(ScaleCandidate(zero_point, step)) / extreme;
    sums = EvaluateCandidate(lanes, inverse, zero_point, step);
    const WideMask better = (sums.ll > zero) & (sums.xl * sums.xl > best_gain * sums.ll);
    const Wide candidate = sums.xl / sums.ll;
    scale = Select(better, candidate, scale);
    best_gain = Select(better, candidate * sums.xl, best_gain);
    best_inverse = Select(better, inverse, best_inverse);
  }
  for (size_t i = 0; i < kBlock; ++i) {
    const Wide l = ScaleQuant<true>(best_inverse * At(lanes.x, i), zero_point);
    Put(lanes.l, i, Select(dead, zero, l + Splat(static_cast<float>(zero_point))));
  }
  return {Select(dead, zero, scale), zero};
}

// --- with min ------------------------------------------------------------------------------------

// What all candidates of a block share.
struct RangeFacts {
  Wide least;  // of the weights, not lowered to 0
  Wide max;
  Wide sum_w;
  Wide sum_x;  // of w * x
  Wide max_quant;
};

HWY_INLINE RangeFacts FindFacts(const Lanes& lanes, int max_quant) {
  RangeFacts facts{At(lanes.x, 0), At(lanes.x, 0), At(lanes.w, 0), At(lanes.wx, 0),
                   Splat(static_cast<float>(max_quant))};
  for (size_t i = 1; i < kBlock; ++i) {
    const Wide x = At(lanes.x, i);
    facts.least = Select(x < facts.least, x, facts.least);
    facts.max = Select(x > facts.max, x, facts.max);
    facts.sum_w = facts.sum_w + At(lanes.w, i);
    facts.sum_x = facts.sum_x + At(lanes.wx, i);
  }
  return facts;
}

struct RangeSums {
  Wide l;
  Wide ll;
  Wide xl;
};

// Writes the candidate's quants and returns their sums.
template <Wide (*kRound)(Wide)>
HWY_INLINE RangeSums RoundWith(Lanes& lanes, Wide inverse, Wide min, Wide max_quant) {
  RangeSums sums{Splat(0), Splat(0), Splat(0)};
  for (size_t i = 0; i < kBlock; ++i) {
    const Wide x = At(lanes.x, i);
    const Wide l = Min(Max(kRound(inverse * (x - min)), Splat(0)), max_quant);
    const Wide wl = At(lanes.w, i) * l;
    sums.l = sums.l + wl;
    sums.ll = sums.ll + wl * l;
    sums.xl = sums.xl + wl * x;
    Put(lanes.l, i, l);
  }
  return sums;
}

// The same, in the fast way where every value is small enough: rounding is monotonic, so the least
// and the greatest weight of a block bound all others.
HWY_INLINE RangeSums RoundCandidate(Lanes& lanes, const RangeFacts& facts, Wide inverse, Wide min) {
  const Wide limit = Splat(0x1p21f);
  const Wide low = Abs(inverse * (facts.least - min));
  const Wide high = Abs(inverse * (facts.max - min));
  if (HWY_LIKELY(All((low < limit) & (high < limit)))) {
    return RoundWith<RoundSmall>(lanes, inverse, min, facts.max_quant);
  }
  return RoundWith<RoundAny>(lanes, inverse, min, facts.max_quant);
}

// Weighted squared error with the quants in lanes.l.
HWY_INLINE Wide SquaredError(const Lanes& lanes, Wide scale, Wide min) {
  Wide error = Splat(0);
  for (size_t i = 0; i < kBlock; ++i) {
    const Wide difference = scale * At(lanes.l, i) + min - At(lanes.x, i);
    error = error + At(lanes.w, i) * (difference * difference);
  }
  return error;
}

HWY_INLINE LaneFit SearchRange(Lanes& lanes, int max_quant) {
  const Wide zero = Splat(0);
  const RangeFacts facts = FindFacts(lanes, max_quant);
  const Wide lowered = Select(facts.least > zero, zero, facts.least);
  const WideMask alive = facts.max > lowered;

  Wide min = lowered;
  Wide best_inverse = SelectOrZero(alive, facts.max_quant / (facts.max - min));
  Wide best_quant_min = min;
  Wide scale = Splat(1) / best_inverse;
  RoundCandidate(lanes, facts, best_inverse, min);
  Wide best_error = SquaredError(lanes, scale, min);
  for (int step = 0; step <= kScaleMinSteps; ++step) {
    const Wide candidate = Splat(ScaleMinCandidate(max_quant, step));
    const Wide inverse = SelectOrZero(alive, candidate / (facts.max - min));
    const RangeSums sums = RoundCandidate(lanes, facts, inverse, min);
    const Wide determinant = facts.sum_w * sums.ll - sums.l * sums.l;
    Wide new_scale = (facts.sum_w * sums.xl - facts.sum_x * sums.l) / determinant;
    Wide new_min = (sums.ll * facts.sum_x - sums.l * sums.xl) / determinant;
    const WideMask raised = new_min > zero;
    new_scale = Select(raised, sums.xl / sums.ll, new_scale);
    new_min = Select(raised, zero, new_min);
    const Wide error = SquaredError(lanes, new_scale, new_min);
    const WideMask better = (determinant > zero) & (error < best_error);
    best_error = Select(better, error, best_error);
    best_inverse = Select(better, inverse, best_inverse);
    best_quant_min = Select(better, min, best_quant_min);
    scale = Select(better, new_scale, scale);
    min = Select(better, new_min, min);
  }
  RoundCandidate(lanes, facts, best_inverse, best_quant_min);
  for (size_t i = 0; i < kBlock; ++i) Put(lanes.l, i, SelectOrZero(alive, At(lanes.l, i)));
  return {SelectOrZero(alive, scale), Select(alive, min, lowered)};
}

// --- to and from blocks --------------------------------------------------------------------------

// Blocks [first, first + count) of the batch into lanes [0, count), zeros into the others.
HWY_INLINE void LoadLanes(const SearchBatch& batch, size_t first, size_t count, Lanes& lanes) {
  const size_t n = WideLanes();
  const size_t row_blocks = batch.columns / kBlock;
  HWY_ALIGN float mean_squares[kMaxWideLanes] = {};
  for (size_t lane = 0; lane < n; ++lane) {
    if (lane >= count) {
      for (size_t i = 0; i < kBlock; ++i) lanes.x[i * n + lane] = lanes.w[i * n + lane] = 0;
      continue;
    }
    const size_t row = (first + lane) / row_blocks;
    const float* x = batch.weights + (first + lane) * kBlock;
    const float* importance = batch.imatrix + (first + lane) % row_blocks * kBlock;
    mean_squares[lane] = batch.mean_squares[row];
    for (size_t i = 0; i < kBlock; ++i) {
      lanes.x[i * n + lane] = x[i];
      lanes.w[i * n + lane] = importance[i];
    }
  }
  const Wide mean_square = At(mean_squares, 0);
  for (size_t i = 0; i < kBlock; ++i) {
    const Wide x = At(lanes.x, i);
    const Wide w = At(lanes.w, i) * Sqrt(mean_square + x * x);
    Put(lanes.w, i, w);
    Put(lanes.wx, i, w * x);
  }
}

// The quants of half a block's lanes as stored: pairs of nibbles, one vector for each byte of qs,
// and the fifth bits.
HWY_INLINE void PackHalf(const float* l, int32_t* pairs, int32_t* fifth_bits) {
  const WideFloat df;
  const WideInt di;
  const size_t n = WideLanes();
  auto high_bits = hn::Zero(di);
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const auto low = hn::ConvertTo(di, hn::Load(df, l + i * n));
    const auto high = hn::ConvertTo(di, hn::Load(df, l + (i + kBlock / 2) * n));
    const auto low_nibble = hn::And(low, hn::Set(di, 15));
    hn::Store(hn::Or(low_nibble, hn::ShiftLeft<4>(high)), di, pairs + i * n);
    const auto fifth = hn::Or(hn::ShiftRight<4>(low), hn::ShiftLeft<16>(hn::ShiftRight<4>(high)));
    high_bits = hn::Or(high_bits, hn::ShiftLeftSame(fifth, static_cast<int>(i)));
  }
  hn::Store(high_bits, di, fifth_bits);
}

HWY_INLINE void StoreLanes(const NibbleLayout& layout, const Lanes& lanes, const LaneFit& fit,
                           uint8_t* blocks, size_t count) {
  const size_t n = WideLanes();
  HWY_ALIGN float scales[kMaxWideLanes];
  HWY_ALIGN float mins[kMaxWideLanes];
  HWY_ALIGN int32_t pairs[kBlock / 2 * kMaxWideLanes];
  HWY_ALIGN int32_t fifth_bits[kMaxWideLanes];
  Put(scales, 0, fit.scale);
  Put(mins, 0, fit.min);
  for (const size_t half : {size_t{0}, n / 2}) {
    PackHalf(lanes.l + half, pairs + half, fifth_bits + half);
  }
  for (size_t lane = 0; lane < count; ++lane, blocks += layout.bytes()) {
    Store16(blocks, F32ToF16(scales[lane]));
    if (layout.has_min) Store16(blocks + layout.m(), F32ToF16(mins[lane]));
    if (layout.has_qh()) std::memcpy(blocks + layout.qh(), &fifth_bits[lane], 4);
    uint8_t* qs = blocks + layout.qs();
    for (size_t i = 0; i < kBlock / 2; ++i) qs[i] = static_cast<uint8_t>(pairs[i * n + lane]);
  }
}

void QuantizeBatch(const NibbleLayout& layout, const SearchBatch& batch) {
  const size_t n = WideLanes();
  const size_t blocks = batch.rows * (batch.columns / kBlock);
  Lanes lanes;
  for (size_t first = 0; first < blocks; first += n) {
    const size_t count = HWY_MIN(n, blocks - first);
    LoadLanes(batch, first, count, lanes);
    const LaneFit fit = layout.has_min ? SearchRange(lanes, layout.max_quant())
                                       : SearchScale(lanes, layout.zero_point());
    StoreLanes(layout, lanes, fit, batch.blocks + first * layout.bytes(), count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(QuantizeBatch);

// MeanSquare of all rows of the batch. A sum is a chain of dependent additions; eight of them run
// side by side, those of missing rows over the last row. False if one is not finite.
bool FindMeanSquares(SearchBatch& batch) {
  const float* rows[kRowsPerBatch];
  for (size_t r = 0; r < kRowsPerBatch; ++r) {
    rows[r] = batch.weights + std::min(r, batch.rows - 1) * batch.columns;
  }
  float sums[kRowsPerBatch] = {};
  for (size_t column = 0; column < batch.columns; ++column) {
#pragma GCC unroll 8
    for (size_t r = 0; r < kRowsPerBatch; ++r) sums[r] += rows[r][column] * rows[r][column];
  }
  bool finite = true;
  for (size_t r = 0; r < kRowsPerBatch; ++r) {
    batch.mean_squares[r] = sums[r] / static_cast<float>(batch.columns);
    finite = finite && std::isfinite(batch.mean_squares[r]);
  }
  return finite;
}

void QuantizeBatchReference(const NibbleLayout& layout, const SearchBatch& batch) {
  const auto run = [&](QuantizeFn quantize) {
    quantize(batch.weights, batch.blocks, batch.rows, batch.columns, batch.imatrix);
  };
  if (layout.has_min) {
    run(layout.bits == 4 ? QuantizeNibblesReference<kQ4_1Layout>
                         : QuantizeNibblesReference<kQ5_1Layout>);
  } else {
    run(layout.bits == 4 ? QuantizeNibblesReference<kQ4_0Layout>
                         : QuantizeNibblesReference<kQ5_0Layout>);
  }
}

}  // namespace

void QuantizeNibblesWeighted(const NibbleLayout& layout, const float* weights, uint8_t* blocks,
                             size_t rows, size_t columns, const float* imatrix) noexcept {
  const bool finite_imatrix =
      std::all_of(imatrix, imatrix + columns, [](float value) { return std::isfinite(value); });
  const size_t row_bytes = columns / kBlock * layout.bytes();
  for (size_t row = 0; row < rows; row += kRowsPerBatch) {
    SearchBatch batch{.weights = weights + row * columns,
                      .blocks = blocks + row * row_bytes,
                      .rows = std::min(kRowsPerBatch, rows - row),
                      .columns = columns,
                      .imatrix = imatrix,
                      .mean_squares = {}};
    // Sums that overflow make NaNs; which of two NaNs survives is only defined in scalar code.
    if (FindMeanSquares(batch) && finite_imatrix) {
      HWY_DYNAMIC_DISPATCH(QuantizeBatch)(layout, batch);
    } else {
      QuantizeBatchReference(layout, batch);
    }
  }
}

}  // namespace quern::quant
#endif  // HWY_ONCE
