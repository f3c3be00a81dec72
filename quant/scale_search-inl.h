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

#include "quant/lanes-inl.h"
#include "quant/scale_search_ref.h"

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
HWY_INLINE typename LaneOps<W>::Mask IsFinite(const W& x) {
  return Le(Abs(x), LaneOps<W>::Set(std::numeric_limits<float>::max()));
}

// FitScaleMin in the middle of its grid, for one set of lanes, a W.
template <class W>
struct ScaleMinState {
  using M = typename LaneOps<W>::Mask;
  const float* x;
  const float* weights;
  float* q;  // of the candidate
  W least, max, sum_w, sum_x;
  W inverse;  // of the candidate
  W candidate_scale, candidate_min;
  W scale, min, error, best_inverse, best_origin;  // of the best
  M solvable;                                      // the candidate has a scale and a min
  M flat;                                          // no range: scale 0
  M exact;
};

template <class W, size_t n>
HWY_INLINE void BeginScaleMin(int levels, ScaleMinState<W>& s) {
  using O = LaneOps<W>;
  W least = O::Load(s.x);
  W max = least;
  W sum_w = O::Load(s.weights);
  W sum_x = Mul(sum_w, least);
  typename O::Mask exact = IsFinite(least);
  for (size_t i = O::Lanes(); i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(s.x + i);
    const W w = O::Load(s.weights + i);
    least = Min(xi, least);
    max = Max(xi, max);
    sum_w = Add(sum_w, w);
    sum_x = Add(sum_x, Mul(w, xi));
    exact = And(exact, IsFinite(xi));
  }
  s.least = least;
  s.max = max;
  s.sum_w = sum_w;
  s.sum_x = sum_x;
  s.exact = exact;
  s.min = Min(least, O::Set(0.f));
  s.flat = Eq(max, s.min);
  s.best_origin = s.min;
  s.best_inverse = Div(O::Set(static_cast<float>(levels)), Sub(max, s.min));
  s.inverse = s.best_inverse;
  s.candidate_scale = Div(O::Set(1.f), s.inverse);
  s.candidate_min = s.min;
  s.scale = s.candidate_scale;
}

// Takes the next inverse scale, from the best min so far. Values stay between 0 and shift times a
// rounding error if the min lies below the max, or fall below 0.
template <class W>
HWY_INLINE void NextInverse(float shift, ScaleMinState<W>& s) {
  using O = LaneOps<W>;
  const W range = Sub(s.max, s.min);
  s.inverse = Div(O::Set(shift), range);
  const W reach = Max(range, Abs(Sub(s.least, s.min)));
  const auto in_range = And(Gt(range, O::Set(0.f)), Lt(Mul(s.inverse, reach), O::Set(4194303.f)));
  s.exact = And(s.exact, Or(s.flat, in_range));
}

// The quants of a candidate, and least squares for its scale and min. `kLimit`: values may round to
// more than `levels`.
template <class W, size_t n, bool kLimit>
HWY_INLINE void SolveCandidate(int levels, ScaleMinState<W>& s) {
  using O = LaneOps<W>;
  const W zero = O::Set(0.f);
  const W top = O::Set(static_cast<float>(levels));
  const W inverse = s.inverse;
  const W origin = s.min;
  W sum_l = zero, sum_l2 = zero, sum_xl = zero;
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(s.x + i);
    W l = LimitBelow(Round(Mul(inverse, Sub(xi, origin))));
    if constexpr (kLimit) l = LimitAbove(l, top);
    O::Store(l, s.q + i);
    const W wl = Mul(O::Load(s.weights + i), l);
    sum_l = Add(sum_l, wl);
    sum_l2 = Add(sum_l2, Mul(wl, l));
    sum_xl = Add(sum_xl, Mul(wl, xi));
  }
  const W determinant = Sub(Mul(s.sum_w, sum_l2), Mul(sum_l, sum_l));
  const W scale = Div(Sub(Mul(s.sum_w, sum_xl), Mul(s.sum_x, sum_l)), determinant);
  const W min = Div(Sub(Mul(sum_l2, s.sum_x), Mul(sum_l, sum_xl)), determinant);
  const auto positive = Gt(min, zero);
  s.solvable = Gt(determinant, zero);
  s.candidate_scale = scale;
  s.candidate_min = IfThenElse(positive, zero, min);
  if (!O::AllFalse(positive)) {
    s.candidate_scale = IfThenElse(positive, Div(sum_xl, sum_l2), scale);
  }
}

template <class W, size_t n, ErrorNorm norm>
HWY_INLINE W CandidateError(const ScaleMinState<W>& s) {
  using O = LaneOps<W>;
  const W scale = s.candidate_scale;
  const W min = s.candidate_min;
  W error = O::Set(0.f);
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W diff = Sub(Add(Mul(scale, O::Load(s.q + i)), min), O::Load(s.x + i));
    const W size = norm == ErrorNorm::kAbsolute ? Abs(diff) : Mul(diff, diff);
    error = Add(error, Mul(O::Load(s.weights + i), size));
  }
  return error;
}

template <class W>
HWY_INLINE void KeepBetter(const W& error, ScaleMinState<W>& s) {
  const auto better = And(s.solvable, Lt(error, s.error));
  s.error = IfThenElse(better, error, s.error);
  s.best_inverse = IfThenElse(better, s.inverse, s.best_inverse);
  s.best_origin = IfThenElse(better, s.min, s.best_origin);
  s.scale = IfThenElse(better, s.candidate_scale, s.scale);
  s.min = IfThenElse(better, s.candidate_min, s.min);
}

template <class W>
HWY_INLINE void StoreFits(const ScaleMinState<W>& s, size_t lane, LaneFits* fits) {
  using O = LaneOps<W>;
  const W zero = O::Set(0.f);
  O::Store(IfThenElse(s.flat, zero, s.scale), fits->scale + lane);
  O::Store(Sub(zero, IfThenElse(s.flat, s.best_origin, s.min)), fits->min + lane);
  O::Store(IfThenElse(s.flat, zero, s.best_inverse), fits->inverse + lane);
  O::Store(s.best_origin, fits->origin + lane);
  O::Store(s.sum_w, fits->sum_weights + lane);
  O::Store(IfThenElse(s.exact, O::Set(1.f), zero), fits->exact + lane);
}

// FitScaleMin for kSets sets of lanes, which lie one after the other. A candidate depends on the
// one before, so that a set alone would wait for its divisions and the ends of its sums; the others
// compute meanwhile.
template <class W, size_t kSets, size_t n, ErrorNorm norm>
void FitScaleMinLanes(const ScaleMinSearch& search, const float* x, const float* weights,
                      LaneFits* fits) {
  constexpr size_t kLanes = LaneOps<W>::Lanes();
  static_assert(kSets * kLanes <= kMaxLanes);
  const int levels = search.levels;
  const float top = static_cast<float>(levels);
  HWY_ALIGN float q[kSets * n * kLanes];
  ScaleMinState<W> states[kSets];
  const auto shift_at = [&](int k) {
    return search.grid.rmin + search.grid.rdelta * static_cast<float>(k) + top;
  };
  for (size_t c = 0; c < kSets; ++c) {
    ScaleMinState<W>& s = states[c];
    s.x = x + c * n * kLanes;
    s.weights = weights + c * n * kLanes;
    s.q = q + c * n * kLanes;
    BeginScaleMin<W, n>(levels, s);
    const W scale = s.candidate_scale;
    NextInverse(top, s);
    SolveCandidate<W, n, false>(levels, s);
    s.candidate_scale = scale;
    s.candidate_min = s.min;
    s.error = CandidateError<W, n, norm>(s);
    NextInverse(shift_at(0), s);
  }
  for (int k = 0; k <= search.grid.steps; ++k) {
    const bool limit = shift_at(k) > top + 0.49f;
    for (ScaleMinState<W>& s : states) {
      if (limit) {
        SolveCandidate<W, n, true>(levels, s);
      } else {
        SolveCandidate<W, n, false>(levels, s);
      }
    }
    const float next = shift_at(k + 1);
    for (ScaleMinState<W>& s : states) {
      KeepBetter(CandidateError<W, n, norm>(s), s);
      NextInverse(next, s);
    }
  }
  for (size_t c = 0; c < kSets; ++c) StoreFits(states[c], c * kLanes, fits);
}

// The weight of largest magnitude per lane, the first of equals, and whether all are finite.
template <class W, size_t n>
HWY_INLINE W ExtremeLanes(const float* x, W& magnitude, typename LaneOps<W>::Mask& exact) {
  using O = LaneOps<W>;
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

// sum w x l and sum w l^2 of the quants at `inverse`. `kBottom`: values may round to less than
// -half.
template <class W, size_t n, int half, bool kBottom>
HWY_INLINE void MomentsAt(const W& inverse, const float* x, const float* weights,
                          const float* weighted_x, W& sum_lx, W& sum_l2) {
  using O = LaneOps<W>;
  const W bottom = O::Set(static_cast<float>(-half));
  const W top = O::Set(static_cast<float>(half - 1));
  W lx = O::Set(0.f), l2 = lx;
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    W l = Min(Round(Mul(inverse, O::Load(x + i))), top);
    if constexpr (kBottom) l = Max(l, bottom);
    lx = Add(lx, Mul(O::Load(weighted_x + i), l));
    l2 = Add(l2, Mul(Mul(O::Load(weights + i), l), l));
  }
  sum_lx = lx;
  sum_l2 = l2;
}

// FitScale. Values stay below half + 1 in magnitude: rounding is exact.
template <class W, size_t n, int half>
void FitScaleLanes(const float* x, const float* weights, LaneFits* fits) {
  using O = LaneOps<W>;
  using M = typename O::Mask;
  const W zero = O::Set(0.f);
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

  W best_inverse = Div(O::Set(static_cast<float>(-half)), extreme);
  W lx, l2;
  MomentsAt<W, n, half, false>(best_inverse, x, weights, weighted_x, lx, l2);
  W scale = IfThenElse(Eq(l2, zero), zero, Div(lx, l2));
  W best = Mul(scale, lx);
  for (int k = -9; k <= 9; ++k) {
    if (k == 0) continue;
    const float shift = static_cast<float>(half) + 0.1f * static_cast<float>(k);
    const W inverse = Div(O::Set(-shift), extreme);
    if (k < 5) {
      MomentsAt<W, n, half, false>(inverse, x, weights, weighted_x, lx, l2);
    } else {
      MomentsAt<W, n, half, true>(inverse, x, weights, weighted_x, lx, l2);
    }
    const M better = And(Gt(l2, zero), Gt(Mul(lx, lx), Mul(best, l2)));
    const W fitted = Div(lx, l2);
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

// The quants of a block in coordinate descent, and what each takes from the sums.
template <size_t kSize>
struct DescentQuants {
  HWY_ALIGN float l[kSize];
  HWY_ALIGN float lx[kSize];  // w x l
  HWY_ALIGN float l2[kSize];  // w l^2
};

template <class W, class Quants>
HWY_INLINE void StoreQuant(const W& l, const W& w, const W& wx, size_t i, Quants& q) {
  using O = LaneOps<W>;
  O::Store(l, q.l + i);
  O::Store(Mul(wx, l), q.lx + i);
  O::Store(Mul(Mul(w, l), l), q.l2 + i);
}

// Whether in some lane the best quant, x*l2/lx limited to -half..half-1, may differ from l. Decided
// without a division, and with 1e-4 to spare for rounding, which lanes between 1e-9 and 1e12 keep
// to. Where lx is not positive nothing moves: so it is in all blocks whose extreme is positive.
template <class W, int half>
HWY_INLINE bool MayMove(const W& x, const W& l, const W& rest_lx, const W& rest_l2) {
  using O = LaneOps<W>;
  const W target = Min(Mul(x, rest_l2), Mul(O::Set(static_cast<float>(half) - 0.6f), rest_lx));
  const W distance = Abs(Sub(target, Mul(l, rest_lx)));
  const auto far = Gt(distance, Mul(O::Set(0.4999f), rest_lx));
  return !O::AllFalse(And(far, Gt(rest_lx, O::Set(0.f))));
}

// FitScaleByDescent. A round that changes nothing in a lane repeats as it is, so that lanes need
// not stop together. Few weights move (2 % in the first round of normal weights, 0.7 % in the
// second), and while none does the sums stay, so that steps overlap: hence the early way out of a
// step, and the fewer lanes the better.
template <class W, size_t n, int half>
void FitScaleByDescentLanes(const float* x, const float* weights, LaneFits* fits) {
  using O = LaneOps<W>;
  using M = typename O::Mask;
  const W zero = O::Set(0.f);
  DescentQuants<n * O::Lanes()> q;
  W magnitude;
  M exact;
  const W extreme = ExtremeLanes<W, n>(x, magnitude, exact);
  const M none = Lt(magnitude, O::Set(kZeroBlock));
  const M moderate = And(Gt(magnitude, O::Set(1e-9f)), Lt(magnitude, O::Set(1e12f)));
  const W inverse = Div(O::Set(static_cast<float>(-half)), extreme);
  W lx = zero, l2 = zero;
  for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
    const W xi = O::Load(x + i);
    const W w = O::Load(weights + i);
    StoreQuant(RoundLimited(Mul(inverse, xi), -half, half - 1), w, Mul(w, xi), i, q);
    lx = Add(lx, O::Load(q.lx + i));
    l2 = Add(l2, O::Load(q.l2 + i));
  }
  for (int round = 0; round < 5; ++round) {
    bool changed = false;
    for (size_t i = 0; i < n * O::Lanes(); i += O::Lanes()) {
      const W xi = O::Load(x + i);
      const W l = O::Load(q.l + i);
      const W rest_lx = Sub(lx, O::Load(q.lx + i));
      const W rest_l2 = Sub(l2, O::Load(q.l2 + i));
      if (HWY_LIKELY((!MayMove<W, half>(xi, l, rest_lx, rest_l2)))) continue;
      const W w = O::Load(weights + i);
      const W wx = Mul(w, xi);
      const W level = RoundLimited(Div(Mul(xi, rest_l2), rest_lx), -half, half - 1);
      const M moved = And(Gt(rest_lx, zero), Ne(level, l));
      const W new_lx = Add(rest_lx, Mul(wx, level));
      const W new_l2 = Add(rest_l2, Mul(Mul(w, level), level));
      const M gains = Gt(Mul(Mul(new_lx, new_lx), l2), Mul(Mul(lx, lx), new_l2));
      const M accept = And(moved, And(Gt(new_l2, zero), gains));
      changed = changed || !O::AllFalse(accept);
      StoreQuant(IfThenElse(accept, level, l), w, wx, i, q);
      lx = IfThenElse(accept, new_lx, lx);
      l2 = IfThenElse(accept, new_l2, l2);
    }
    if (!changed) break;
  }
  const W scale = IfThenElse(Gt(l2, zero), Div(lx, l2), zero);
  O::Store(IfThenElse(none, zero, scale), fits->scale);
  O::Store(IfThenElse(none, zero, inverse), fits->inverse);
  O::Store(IfThenElse(And(exact, Or(none, moderate)), O::Set(1.f), zero), fits->exact);
}

// FitPositiveScale: scales to `scale`, quants as floats to `q`. Reports lanes as not exact where a
// value is negative or a target leaves the range of rounding.
template <class W, size_t n>
typename LaneOps<W>::Mask FitPositiveScaleLanes(int levels, const float* x, const float* weights,
                                                float* q, W& scale) {
  using O = LaneOps<W>;
  using M = typename O::Mask;
  constexpr size_t kEnd = n * O::Lanes();
  const W zero = O::Set(0.f);
  const W one = O::Set(1.f);
  const W top = O::Set(static_cast<float>(levels));
  W max = zero;
  M exact = IsFinite(zero);
  for (size_t i = 0; i < kEnd; i += O::Lanes()) {
    const W xi = O::Load(x + i);
    max = Max(xi, max);
    exact = And(exact, And(IsFinite(xi), Le(zero, xi)));
  }
  const M none = Lt(max, O::Set(kZeroBlock));
  W best_inverse = Div(top, max);
  W best_error = zero;
  for (int step = 0; step <= 8; ++step) {
    // The plain inverse first, then the grid around it.
    const int k = step == 0 ? 0 : step <= 4 ? step - 5 : step - 4;
    const float shift = 0.1f * static_cast<float>(k) + static_cast<float>(levels);
    const W inverse = Div(O::Set(shift), max);
    const W step_scale = Div(one, inverse);
    W error = zero;
    for (size_t i = 0; i < kEnd; i += O::Lanes()) {
      const W xi = O::Load(x + i);
      const W l = LimitAbove(Round(Mul(inverse, xi)), top);
      const W diff = Sub(xi, Mul(step_scale, l));
      error = Add(error, Mul(Mul(O::Load(weights + i), diff), diff));
    }
    const M better = step == 0 ? Eq(one, one) : Lt(error, best_error);
    best_error = IfThenElse(better, error, best_error);
    best_inverse = IfThenElse(better, inverse, best_inverse);
  }
  W lx = zero, l2 = zero;
  for (size_t i = 0; i < kEnd; i += O::Lanes()) {
    const W xi = O::Load(x + i);
    const W w = O::Load(weights + i);
    const W l = LimitAbove(Round(Mul(best_inverse, xi)), top);
    O::Store(IfThenElse(none, zero, l), q + i);
    lx = Add(lx, Mul(Mul(w, xi), l));
    l2 = Add(l2, Mul(Mul(w, l), l));
  }
  for (int round = 0; round < 5; ++round) {
    M any = Lt(zero, zero);
    for (size_t i = 0; i < kEnd; i += O::Lanes()) {
      const W xi = O::Load(x + i);
      const W w = O::Load(weights + i);
      const W l = O::Load(q + i);
      const W wx = Mul(w, xi);
      const W rest_lx = Sub(lx, Mul(wx, l));
      const W rest_l2 = Sub(l2, Mul(Mul(w, l), l));
      const W target = Div(Mul(xi, rest_l2), rest_lx);
      const M solvable = And(Gt(rest_lx, zero), Gt(rest_l2, zero));
      exact = And(exact, Or(Not(solvable), Lt(target, O::Set(4194303.f))));
      const W level = LimitAbove(Round(target), top);
      const W new_lx = Add(rest_lx, Mul(wx, level));
      const W new_l2 = Add(rest_l2, Mul(Mul(w, level), level));
      const M gains = Gt(Mul(Mul(new_lx, new_lx), l2), Mul(Mul(lx, lx), new_l2));
      const M accept = And(And(solvable, Ne(level, l)), gains);
      any = Or(any, accept);
      O::Store(IfThenElse(accept, level, l), q + i);
      lx = IfThenElse(accept, new_lx, lx);
      l2 = IfThenElse(accept, new_l2, l2);
    }
    if (O::AllFalse(any)) break;
  }
  scale = IfThenElse(And(Gt(l2, zero), Not(none)), Div(lx, l2), zero);
  return Or(none, exact);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
