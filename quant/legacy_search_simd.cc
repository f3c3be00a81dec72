// Vector kernels of the weighted search of Q4_0, Q4_1, Q5_0 and Q5_1 (legacy_ref.cc defines it).
//
// A lane is a block: every lane runs the scalar search in the scalar order, so that sums round
// equally, and branches become blends. Blocks of up to eight rows are one queue; the last vector is
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

constexpr size_t kMaxLanes = 16;
using DF = hn::CappedTag<float, kMaxLanes>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

// One block per lane: element i of all blocks is one vector.
struct Lanes {
  HWY_ALIGN float x[kBlock * kMaxLanes];
  HWY_ALIGN float w[kBlock * kMaxLanes];
  HWY_ALIGN float wx[kBlock * kMaxLanes];  // w * x
  HWY_ALIGN float l[kBlock * kMaxLanes];   // quants
};

HWY_INLINE VF At(const float* vectors, size_t i) {
  const DF df;
  return hn::Load(df, vectors + i * hn::Lanes(df));
}

HWY_INLINE void Put(float* vectors, size_t i, VF v) {
  const DF df;
  hn::Store(v, df, vectors + i * hn::Lanes(df));
}

struct RoundBySum {
  static HWY_INLINE VF Round(VF v) {
    const VF shift = hn::Set(DF(), 0x1.8p23f);
    return hn::Sub(hn::Add(v, shift), shift);
  }
};

struct RoundByBits {  // NearestInt for any value
  static HWY_INLINE VF Round(VF v) {
    const DF df;
    const DI di;
    const VI bits = hn::BitCast(di, hn::Add(v, hn::Set(df, 0x1.8p23f)));
    const VI mantissa = hn::And(bits, hn::Set(di, 0x007FFFFF));
    return hn::ConvertTo(df, hn::Sub(mantissa, hn::Set(di, 0x00400000)));
  }
};

// The result of a search: quants are in Lanes::l, as stored.
struct LaneFit {
  VF scale;
  VF min;
};

// --- without min ---------------------------------------------------------------------------------

struct ScaleSums {
  VF xl;
  VF ll;
};

HWY_INLINE VF ScaleQuant(VF v, int zero_point) {
  const DF df;
  const VF l = RoundBySum::Round(v);
  return hn::Min(hn::Max(l, hn::Set(df, static_cast<float>(-zero_point))),
                 hn::Set(df, static_cast<float>(zero_point - 1)));
}

HWY_INLINE ScaleSums EvaluateScale(const Lanes& lanes, VF inverse, int zero_point) {
  const DF df;
  ScaleSums sums{hn::Zero(df), hn::Zero(df)};
  for (size_t i = 0; i < kBlock; ++i) {
    const VF l = ScaleQuant(hn::Mul(inverse, At(lanes.x, i)), zero_point);
    sums.xl = hn::Add(sums.xl, hn::Mul(At(lanes.wx, i), l));
    sums.ll = hn::Add(sums.ll, hn::Mul(hn::Mul(At(lanes.w, i), l), l));
  }
  return sums;
}

HWY_INLINE LaneFit SearchScale(Lanes& lanes, int zero_point) {
  const DF df;
  const VF zero = hn::Zero(df);
  VF extreme = zero;
  for (size_t i = 0; i < kBlock; ++i) {
    const VF x = At(lanes.x, i);
    extreme = hn::IfThenElse(hn::Gt(hn::Abs(x), hn::Abs(extreme)), x, extreme);
  }
  const auto alive = hn::Ge(hn::Abs(extreme), hn::Set(df, kZeroBlock));
  extreme = hn::IfThenElse(alive, extreme, hn::Set(df, 1.0f));

  VF best_inverse = hn::Div(hn::Set(df, ScaleCandidate(zero_point, 0)), extreme);
  ScaleSums sums = EvaluateScale(lanes, best_inverse, zero_point);
  VF scale = hn::IfThenElse(hn::Eq(sums.ll, zero), zero, hn::Div(sums.xl, sums.ll));
  VF best_gain = hn::Mul(scale, sums.xl);
  for (int step = -kScaleSteps; step <= kScaleSteps; ++step) {
    if (step == 0) continue;
    const VF inverse = hn::Div(hn::Set(df, ScaleCandidate(zero_point, step)), extreme);
    sums = EvaluateScale(lanes, inverse, zero_point);
    const auto better = hn::And(hn::Gt(sums.ll, zero),
                                hn::Gt(hn::Mul(sums.xl, sums.xl), hn::Mul(best_gain, sums.ll)));
    const VF candidate = hn::Div(sums.xl, sums.ll);
    scale = hn::IfThenElse(better, candidate, scale);
    best_gain = hn::IfThenElse(better, hn::Mul(candidate, sums.xl), best_gain);
    best_inverse = hn::IfThenElse(better, inverse, best_inverse);
  }
  for (size_t i = 0; i < kBlock; ++i) {
    const VF l = ScaleQuant(hn::Mul(best_inverse, At(lanes.x, i)), zero_point);
    const VF q = hn::Add(l, hn::Set(df, static_cast<float>(zero_point)));
    Put(lanes.l, i, hn::IfThenElseZero(alive, q));
  }
  return {hn::IfThenElseZero(alive, scale), zero};
}

// --- with min ------------------------------------------------------------------------------------

// What all candidates of a block share.
struct RangeFacts {
  VF least;  // of the weights, not lowered to 0
  VF max;
  VF sum_w;
  VF sum_x;  // of w * x
};

HWY_INLINE RangeFacts FindFacts(const Lanes& lanes) {
  RangeFacts facts{At(lanes.x, 0), At(lanes.x, 0), At(lanes.w, 0), At(lanes.wx, 0)};
  for (size_t i = 1; i < kBlock; ++i) {
    const VF x = At(lanes.x, i);
    facts.least = hn::IfThenElse(hn::Lt(x, facts.least), x, facts.least);
    facts.max = hn::IfThenElse(hn::Gt(x, facts.max), x, facts.max);
    facts.sum_w = hn::Add(facts.sum_w, At(lanes.w, i));
    facts.sum_x = hn::Add(facts.sum_x, At(lanes.wx, i));
  }
  return facts;
}

template <class Rounding>
HWY_INLINE VF RangeQuant(VF x, VF inverse, VF min, VF max_quant) {
  const VF l = Rounding::Round(hn::Mul(inverse, hn::Sub(x, min)));
  return hn::Min(hn::Max(l, hn::Zero(DF())), max_quant);
}

struct RangeSums {
  VF l;
  VF ll;
  VF xl;
};

// Writes the candidate's quants and returns their sums.
template <class Rounding>
HWY_INLINE RangeSums RoundCandidate(Lanes& lanes, VF inverse, VF min, VF max_quant) {
  const VF zero = hn::Zero(DF());
  RangeSums sums{zero, zero, zero};
  for (size_t i = 0; i < kBlock; ++i) {
    const VF x = At(lanes.x, i);
    const VF l = RangeQuant<Rounding>(x, inverse, min, max_quant);
    const VF wl = hn::Mul(At(lanes.w, i), l);
    sums.l = hn::Add(sums.l, wl);
    sums.ll = hn::Add(sums.ll, hn::Mul(wl, l));
    sums.xl = hn::Add(sums.xl, hn::Mul(wl, x));
    Put(lanes.l, i, l);
  }
  return sums;
}

// The same, by sums where every value is small enough: rounding is monotonic, so the least and the
// greatest weight of the block bound all others.
HWY_INLINE RangeSums Round(Lanes& lanes, const RangeFacts& facts, VF inverse, VF min,
                           VF max_quant) {
  const DF df;
  const VF limit = hn::Set(df, 0x1p21f);
  const VF low = hn::Abs(hn::Mul(inverse, hn::Sub(facts.least, min)));
  const VF high = hn::Abs(hn::Mul(inverse, hn::Sub(facts.max, min)));
  if (HWY_LIKELY(hn::AllTrue(df, hn::And(hn::Lt(low, limit), hn::Lt(high, limit))))) {
    return RoundCandidate<RoundBySum>(lanes, inverse, min, max_quant);
  }
  return RoundCandidate<RoundByBits>(lanes, inverse, min, max_quant);
}

// Weighted squared error with the quants in lanes.l.
HWY_INLINE VF SquaredError(const Lanes& lanes, VF scale, VF min) {
  VF error = hn::Zero(DF());
  for (size_t i = 0; i < kBlock; ++i) {
    const VF value = hn::Add(hn::Mul(scale, At(lanes.l, i)), min);
    const VF difference = hn::Sub(value, At(lanes.x, i));
    error = hn::Add(error, hn::Mul(At(lanes.w, i), hn::Mul(difference, difference)));
  }
  return error;
}

HWY_INLINE LaneFit SearchRange(Lanes& lanes, int max_quant) {
  const DF df;
  const VF zero = hn::Zero(df);
  const VF top = hn::Set(df, static_cast<float>(max_quant));
  const RangeFacts facts = FindFacts(lanes);
  const VF lowered = hn::IfThenElse(hn::Gt(facts.least, zero), zero, facts.least);
  const auto alive = hn::Gt(facts.max, lowered);

  VF min = lowered;
  VF best_inverse = hn::IfThenElseZero(alive, hn::Div(top, hn::Sub(facts.max, min)));
  VF best_quant_min = min;
  VF scale = hn::Div(hn::Set(df, 1.0f), best_inverse);
  Round(lanes, facts, best_inverse, min, top);
  VF best_error = SquaredError(lanes, scale, min);
  for (int step = 0; step <= kScaleMinSteps; ++step) {
    const VF candidate = hn::Set(df, ScaleMinCandidate(max_quant, step));
    const VF inverse = hn::IfThenElseZero(alive, hn::Div(candidate, hn::Sub(facts.max, min)));
    const RangeSums sums = Round(lanes, facts, inverse, min, top);
    const VF determinant = hn::Sub(hn::Mul(facts.sum_w, sums.ll), hn::Mul(sums.l, sums.l));
    VF new_scale =
        hn::Div(hn::Sub(hn::Mul(facts.sum_w, sums.xl), hn::Mul(facts.sum_x, sums.l)), determinant);
    VF new_min =
        hn::Div(hn::Sub(hn::Mul(sums.ll, facts.sum_x), hn::Mul(sums.l, sums.xl)), determinant);
    const auto raised = hn::Gt(new_min, zero);
    new_scale = hn::IfThenElse(raised, hn::Div(sums.xl, sums.ll), new_scale);
    new_min = hn::IfThenElse(raised, zero, new_min);
    const VF error = SquaredError(lanes, new_scale, new_min);
    const auto better = hn::And(hn::Gt(determinant, zero), hn::Lt(error, best_error));
    best_error = hn::IfThenElse(better, error, best_error);
    best_inverse = hn::IfThenElse(better, inverse, best_inverse);
    best_quant_min = hn::IfThenElse(better, min, best_quant_min);
    scale = hn::IfThenElse(better, new_scale, scale);
    min = hn::IfThenElse(better, new_min, min);
  }
  Round(lanes, facts, best_inverse, best_quant_min, top);
  for (size_t i = 0; i < kBlock; ++i) Put(lanes.l, i, hn::IfThenElseZero(alive, At(lanes.l, i)));
  return {hn::IfThenElseZero(alive, scale), hn::IfThenElse(alive, min, lowered)};
}

// --- to and from blocks --------------------------------------------------------------------------

// Blocks [first, first + count) of the batch into lanes [0, count), zeros into the others.
HWY_INLINE void LoadLanes(const SearchBatch& batch, size_t first, size_t count, Lanes& lanes) {
  const DF df;
  const size_t n = hn::Lanes(df);
  const size_t row_blocks = batch.columns / kBlock;
  HWY_ALIGN float mean_squares[kMaxLanes] = {};
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
  const VF mean_square = hn::Load(df, mean_squares);
  for (size_t i = 0; i < kBlock; ++i) {
    const VF x = At(lanes.x, i);
    const VF size = hn::Sqrt(hn::Add(mean_square, hn::Mul(x, x)));
    const VF w = hn::Mul(At(lanes.w, i), size);
    Put(lanes.w, i, w);
    Put(lanes.wx, i, hn::Mul(w, x));
  }
}

HWY_INLINE void StoreLanes(const NibbleLayout& layout, const Lanes& lanes, const LaneFit& fit,
                           uint8_t* blocks, size_t count) {
  const DF df;
  const DI di;
  const size_t n = hn::Lanes(df);
  HWY_ALIGN float scales[kMaxLanes];
  HWY_ALIGN float mins[kMaxLanes];
  HWY_ALIGN int32_t pairs[kBlock / 2 * kMaxLanes];
  HWY_ALIGN int32_t fifth_bits[kMaxLanes];
  hn::Store(fit.scale, df, scales);
  hn::Store(fit.min, df, mins);
  VI high_bits = hn::Zero(di);
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const VI low = hn::ConvertTo(di, At(lanes.l, i));
    const VI high = hn::ConvertTo(di, At(lanes.l, i + kBlock / 2));
    const VI low_nibble = hn::And(low, hn::Set(di, 15));
    hn::Store(hn::Or(low_nibble, hn::ShiftLeft<4>(high)), di, pairs + i * n);
    const VI fifth = hn::Or(hn::ShiftRight<4>(low), hn::ShiftLeft<16>(hn::ShiftRight<4>(high)));
    high_bits = hn::Or(high_bits, hn::ShiftLeftSame(fifth, static_cast<int>(i)));
  }
  hn::Store(high_bits, di, fifth_bits);
  for (size_t lane = 0; lane < count; ++lane, blocks += layout.bytes()) {
    Store16(blocks, F32ToF16(scales[lane]));
    if (layout.has_min) Store16(blocks + layout.m(), F32ToF16(mins[lane]));
    if (layout.has_qh()) std::memcpy(blocks + layout.qh(), &fifth_bits[lane], 4);
    uint8_t* qs = blocks + layout.qs();
    for (size_t i = 0; i < kBlock / 2; ++i) qs[i] = static_cast<uint8_t>(pairs[i * n + lane]);
  }
}

void QuantizeBatch(const NibbleLayout& layout, const SearchBatch& batch) {
  const size_t n = hn::Lanes(DF());
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

// MeanSquare of several rows at once: each sum is a chain of dependent additions, eight of them
// overlap. False if one is not finite.
bool FindMeanSquares(SearchBatch& batch) {
  float sums[kRowsPerBatch] = {};
  for (size_t column = 0; column < batch.columns; ++column) {
    for (size_t row = 0; row < batch.rows; ++row) {
      const float x = batch.weights[row * batch.columns + column];
      sums[row] += x * x;
    }
  }
  bool finite = true;
  for (size_t row = 0; row < batch.rows; ++row) {
    batch.mean_squares[row] = sums[row] / static_cast<float>(batch.columns);
    finite = finite && std::isfinite(batch.mean_squares[row]);
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
