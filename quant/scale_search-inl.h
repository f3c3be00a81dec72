// The searches of scale_search_ref.h, one block of weights per lane, in the same order of
// operations.
//
// Blocks lie transposed: weight i of lane j at [i * lanes + j]. Where the scalar code branches,
// lanes blend. Rounding by a floating-point addition equals NearestInt below 2^22 only: lanes in
// which a value may leave that range, or is not finite, are reported in `exact` and redone by the
// scalar code. Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_SCALE_SEARCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_SCALE_SEARCH_INL_H_
#undef QUERN_QUANT_SCALE_SEARCH_INL_H_
#else
#define QUERN_QUANT_SCALE_SEARCH_INL_H_
#endif

#include <limits>

#include "quant/scale_search_ref.h"
#include "quant/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

inline constexpr size_t kMaxLanes = 64;

// Per lane. Quants of the search are the limited roundings of inverse * (x - origin).
struct LaneFits {
  HWY_ALIGN float scale[kMaxLanes];
  HWY_ALIGN float min[kMaxLanes];
  HWY_ALIGN float inverse[kMaxLanes];  // 0: a block without range, all quants 0
  HWY_ALIGN float origin[kMaxLanes];
  HWY_ALIGN float sum_weights[kMaxLanes];
  HWY_ALIGN float exact[kMaxLanes];  // 1, or 0 where the scalar code has to redo the block
};

template <class W>
HWY_INLINE typename Wide<W>::Mask IsFinite(const W& x) {
  return Le(Abs(x), Wide<W>::Set(std::numeric_limits<float>::max()));
}

// One candidate of FitScaleMin: quants at `inverse` from `origin` into `q`, and their sums.
template <class W, size_t n>
HWY_INLINE void SumsAt(const W& inverse, const W& origin, int levels, const float* x,
                       const float* weights, float* q, W& sum_l, W& sum_l2, W& sum_xl) {
  using O = Wide<W>;
  const W zero = O::Set(0.f);
  const W top = O::Set(static_cast<float>(levels));
  W l1 = zero, l2 = zero, xl = zero;
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(x + i);
    const W l = Min(Max(Round(Mul(inverse, Sub(xi, origin))), zero), top);
    O::Store(l, q + i);
    const W wl = Mul(O::Load(weights + i), l);
    l1 = Add(l1, wl);
    l2 = Add(l2, Mul(wl, l));
    xl = Add(xl, Mul(wl, xi));
  }
  sum_l = l1;
  sum_l2 = l2;
  sum_xl = xl;
}

template <class W, size_t n, ErrorNorm norm>
HWY_INLINE W ErrorAt(const W& scale, const W& min, const float* x, const float* weights,
                     const float* q) {
  using O = Wide<W>;
  W error = O::Set(0.f);
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W diff = Sub(Add(Mul(scale, O::Load(q + i)), min), O::Load(x + i));
    const W size = norm == ErrorNorm::kAbsolute ? Abs(diff) : Mul(diff, diff);
    error = Add(error, Mul(O::Load(weights + i), size));
  }
  return error;
}

// FitScaleMin.
template <class W, size_t n, ErrorNorm norm>
void FitScaleMinLanes(const ScaleMinSearch& search, const float* x, const float* weights,
                      LaneFits* fits) {
  using O = Wide<W>;
  using M = typename O::Mask;
  const W zero = O::Set(0.f);
  const W one = O::Set(1.f);
  const float levels = static_cast<float>(search.levels);
  HWY_ALIGN float q[n * O::Lanes()];

  W least = O::Load(x);
  W max = least;
  W sum_w = O::Load(weights);
  W sum_x = Mul(sum_w, least);
  M exact = IsFinite(least);
  for (size_t i = O::Lanes(); i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(x + i);
    const W w = O::Load(weights + i);
    least = Min(xi, least);
    max = Max(xi, max);
    sum_w = Add(sum_w, w);
    sum_x = Add(sum_x, Mul(w, xi));
    exact = And(exact, IsFinite(xi));
  }
  W min = Min(least, zero);
  const M flat = Eq(max, min);
  const W flat_min = Sub(zero, min);
  // Whether rounding is exact for all weights of a lane.
  const auto in_range = [&](const W& inverse) HWY_ATTR {
    const W reach = Max(Abs(Sub(max, min)), Abs(Sub(least, min)));
    return Or(flat, Lt(Mul(Abs(inverse), reach), O::Set(4194303.f)));
  };

  W best_inverse = Div(O::Set(levels), Sub(max, min));
  W best_origin = min;
  W scale = Div(one, best_inverse);
  W sum_l, sum_l2, sum_xl;
  exact = And(exact, in_range(best_inverse));
  SumsAt<W, n>(best_inverse, min, search.levels, x, weights, q, sum_l, sum_l2, sum_xl);
  W best_error = ErrorAt<W, n, norm>(scale, min, x, weights, q);

  for (int k = 0; k <= search.grid.steps; ++k) {
    const float shift = search.grid.rmin + search.grid.rdelta * static_cast<float>(k) + levels;
    const W inverse = Div(O::Set(shift), Sub(max, min));
    exact = And(exact, in_range(inverse));
    SumsAt<W, n>(inverse, min, search.levels, x, weights, q, sum_l, sum_l2, sum_xl);
    const W determinant = Sub(Mul(sum_w, sum_l2), Mul(sum_l, sum_l));
    W this_scale = Div(Sub(Mul(sum_w, sum_xl), Mul(sum_x, sum_l)), determinant);
    W this_min = Div(Sub(Mul(sum_l2, sum_x), Mul(sum_l, sum_xl)), determinant);
    const M positive = Gt(this_min, zero);
    this_scale = IfThenElse(positive, Div(sum_xl, sum_l2), this_scale);
    this_min = IfThenElse(positive, zero, this_min);
    const W error = ErrorAt<W, n, norm>(this_scale, this_min, x, weights, q);
    const M better = And(Gt(determinant, zero), Lt(error, best_error));
    best_error = IfThenElse(better, error, best_error);
    best_inverse = IfThenElse(better, inverse, best_inverse);
    best_origin = IfThenElse(better, min, best_origin);
    scale = IfThenElse(better, this_scale, scale);
    min = IfThenElse(better, this_min, min);
  }
  O::Store(IfThenElse(flat, zero, scale), fits->scale);
  O::Store(IfThenElse(flat, flat_min, Sub(zero, min)), fits->min);
  O::Store(IfThenElse(flat, zero, best_inverse), fits->inverse);
  O::Store(best_origin, fits->origin);
  O::Store(sum_w, fits->sum_weights);
  O::Store(IfThenElse(exact, one, zero), fits->exact);
}

// The weight of largest magnitude per lane, the first of equals, and whether all are finite.
template <class W, size_t n>
HWY_INLINE W ExtremeLanes(const float* x, W& magnitude, typename Wide<W>::Mask& exact) {
  using O = Wide<W>;
  magnitude = O::Set(0.f);
  W extreme = magnitude;
  exact = IsFinite(extreme);
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(x + i);
    const W a = Abs(xi);
    const auto larger = Gt(a, magnitude);
    magnitude = IfThenElse(larger, a, magnitude);
    extreme = IfThenElse(larger, xi, extreme);
    exact = And(exact, IsFinite(xi));
  }
  return extreme;
}

// FitScale. `weighted_x` = weights * x. Values stay below half + 1 in magnitude: rounding is exact.
template <class W, size_t n, int half>
void FitScaleLanes(const float* x, const float* weights, LaneFits* fits) {
  using O = Wide<W>;
  using M = typename O::Mask;
  const W zero = O::Set(0.f);
  const W bottom = O::Set(static_cast<float>(-half));
  const W top = O::Set(static_cast<float>(half - 1));
  HWY_ALIGN float weighted_x[n * O::Lanes()];
  W sum_w = zero;
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W w = O::Load(weights + i);
    sum_w = Add(sum_w, w);
    O::Store(Mul(w, O::Load(x + i)), weighted_x + i);
  }
  W magnitude;
  M exact;
  const W extreme = ExtremeLanes<W, n>(x, magnitude, exact);
  const M none = Lt(magnitude, O::Set(kZeroBlock));

  W best_inverse = zero, scale = zero, best = zero;
  for (int step = 0; step <= 18; ++step) {
    // The plain inverse first, then the grid around it.
    const int k = step == 0 ? 0 : step <= 9 ? step - 10 : step - 9;
    const float shift = static_cast<float>(half) + 0.1f * static_cast<float>(k);
    const W inverse = Div(O::Set(-shift), extreme);
    W lx = zero, l2 = zero;
    for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
      const W l = Min(Max(Round(Mul(inverse, O::Load(x + i))), bottom), top);
      lx = Add(lx, Mul(O::Load(weighted_x + i), l));
      l2 = Add(l2, Mul(Mul(O::Load(weights + i), l), l));
    }
    const W fitted = Div(lx, l2);
    if (step == 0) {
      best_inverse = inverse;
      scale = IfThenElse(Eq(l2, zero), zero, fitted);
      best = Mul(scale, lx);
      continue;
    }
    const M better = And(Gt(l2, zero), Gt(Mul(lx, lx), Mul(best, l2)));
    best_inverse = IfThenElse(better, inverse, best_inverse);
    scale = IfThenElse(better, fitted, scale);
    best = IfThenElse(better, Mul(fitted, lx), best);
  }
  O::Store(IfThenElse(none, zero, scale), fits->scale);
  O::Store(IfThenElse(none, zero, best_inverse), fits->inverse);
  O::Store(zero, fits->origin);
  O::Store(sum_w, fits->sum_weights);
  O::Store(IfThenElse(exact, O::Set(1.f), zero), fits->exact);
}

// FitScaleByDescent; also writes the quants, as floats -half..half-1. A round that changes nothing
// in a lane repeats as it is, so that lanes need not stop together.
template <class W, size_t n, int half>
void FitScaleByDescentLanes(const float* x, float* q, LaneFits* fits) {
  using O = Wide<W>;
  using M = typename O::Mask;
  const W zero = O::Set(0.f);
  W magnitude;
  M exact;
  const W extreme = ExtremeLanes<W, n>(x, magnitude, exact);
  const M none = Lt(magnitude, O::Set(kZeroBlock));
  const W inverse = Div(O::Set(static_cast<float>(-half)), extreme);
  W lx = zero, l2 = zero;
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(x + i);
    const W w = Mul(xi, xi);
    const W l = RoundLimited(Mul(inverse, xi), -half, half - 1);
    O::Store(l, q + i);
    lx = Add(lx, Mul(Mul(w, xi), l));
    l2 = Add(l2, Mul(Mul(w, l), l));
  }
  for (int round = 0; round < 5; ++round) {
    M any = Lt(zero, zero);
    for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
      const W xi = O::Load(x + i);
      const W l = O::Load(q + i);
      const W w = Mul(xi, xi);
      const W wx = Mul(w, xi);
      const W rest_lx = Sub(lx, Mul(wx, l));
      const W rest_l2 = Sub(l2, Mul(Mul(w, l), l));
      const W level = RoundLimited(Div(Mul(xi, rest_l2), rest_lx), -half, half - 1);
      const M moved = And(Gt(rest_lx, zero), Ne(level, l));
      const W new_lx = Add(rest_lx, Mul(wx, level));
      const W new_l2 = Add(rest_l2, Mul(Mul(w, level), level));
      const M gains = Gt(Mul(Mul(new_lx, new_lx), l2), Mul(Mul(lx, lx), new_l2));
      const M accept = And(moved, And(Gt(new_l2, zero), gains));
      any = Or(any, accept);
      O::Store(IfThenElse(accept, level, l), q + i);
      lx = IfThenElse(accept, new_lx, lx);
      l2 = IfThenElse(accept, new_l2, l2);
    }
    if (O::AllFalse(any)) break;
  }
  const W scale = IfThenElse(Gt(l2, zero), Div(lx, l2), zero);
  O::Store(IfThenElse(none, zero, scale), fits->scale);
  O::Store(IfThenElse(none, zero, inverse), fits->inverse);
  O::Store(IfThenElse(exact, O::Set(1.f), zero), fits->exact);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
