// The first fit of IQ2_XXS, a block per lane. Sums are made in the order of scale_search_ref.cc.
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_FIRST_FIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_FIRST_FIT_INL_H_
#undef QUERN_QUANT_IQUANT_FIRST_FIT_INL_H_
#else
#define QUERN_QUANT_IQUANT_FIRST_FIT_INL_H_
#endif

#include "quant/iquant_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// FitPositiveScale of blocks of 32, but for the levels. These are stored as bytes, so that those of
// a negative weight wrap around; a lane where one may fall below -256, or a value leaves the range
// of rounding, is reported in `exact` as 0.
struct FirstFit {
  GridFloats top;
  GridFloats max;
  GridFloats lx;
  GridFloats l2;
  GridFloats exact;  // all bits set, or none
  HWY_ALIGN float q[kMaxGridBlock * kGridLanes];

  static HWY_INLINE GridFloats AsByte(GridFloats level) {
    const GridFloat df;
    const auto negative = hn::Lt(level, hn::Zero(df));
    return hn::IfThenElse(negative, hn::Add(level, hn::Set(df, 256.f)), level);
  }
};

HWY_INLINE GridFloats FirstError(const BlockLanes& lanes, const FirstFit& fit, GridFloats inverse,
                                 bool as_bytes) {
  const GridFloat df;
  const GridFloats scale = hn::Div(hn::Set(df, 1.f), inverse);
  GridFloats error = hn::Zero(df);
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    GridFloats level = hn::Round(hn::Mul(inverse, x));
    level = as_bytes ? FirstFit::AsByte(level) : hn::Min(level, fit.top);
    const GridFloats diff = hn::Sub(x, hn::Mul(scale, level));
    error = hn::Add(error, hn::Mul(hn::Mul(hn::Load(df, lanes.weights + i), diff), diff));
  }
  return error;
}

// The best of nine inverse scales; its levels and sums.
HWY_INLINE void TryFirstScales(const BlockLanes& lanes, FirstFit& fit) {
  const GridFloat df;
  GridFloats best_inverse = hn::Div(fit.top, fit.max);
  GridFloats best_error = FirstError(lanes, fit, best_inverse, true);
  for (int k = -4; k <= 4; ++k) {
    if (k == 0) continue;
    const GridFloats shift = hn::Set(df, 0.1f * static_cast<float>(k));
    const GridFloats inverse = hn::Div(hn::Add(shift, fit.top), fit.max);
    const GridFloats error = FirstError(lanes, fit, inverse, false);
    const auto better = hn::Lt(error, best_error);
    best_error = hn::IfThenElse(better, error, best_error);
    best_inverse = hn::IfThenElse(better, inverse, best_inverse);
  }
  fit.lx = fit.l2 = hn::Zero(df);
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    const GridFloats w = hn::Load(df, lanes.weights + i);
    const GridFloats level = hn::Min(hn::Round(hn::Mul(best_inverse, x)), fit.top);
    hn::Store(FirstFit::AsByte(level), df, fit.q + i);
    fit.lx = hn::Add(fit.lx, hn::Mul(hn::Mul(w, x), level));
    fit.l2 = hn::Add(fit.l2, hn::Mul(hn::Mul(w, level), level));
  }
}

// A round of coordinate descent; whether any level moved. Few do, and while none does the sums stay
// and steps overlap: hence the way out before they are set.
HWY_INLINE bool DescendFirstFit(const BlockLanes& lanes, FirstFit& fit) {
  const GridFloat df;
  const GridFloats zero = hn::Zero(df);
  bool any = false;
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    const GridFloats w = hn::Load(df, lanes.weights + i);
    const GridFloats old = hn::Load(df, fit.q + i);
    const GridFloats wx = hn::Mul(w, x);
    const GridFloats rest_lx = hn::Sub(fit.lx, hn::Mul(wx, old));
    const GridFloats rest_l2 = hn::Sub(fit.l2, hn::Mul(hn::Mul(w, old), old));
    const GridFloats target = hn::Div(hn::Mul(x, rest_l2), rest_lx);
    const auto solvable = hn::And(hn::Gt(rest_lx, zero), hn::Gt(rest_l2, zero));
    const GridFloats level = hn::Min(hn::Round(target), fit.top);
    const auto in_range =
        hn::And(hn::Gt(target, hn::Set(df, -255.f)), hn::Lt(target, hn::Set(df, 4194303.f)));
    fit.exact = hn::And(fit.exact, hn::VecFromMask(df, hn::Or(in_range, hn::Not(solvable))));
    const auto moves = hn::And(solvable, hn::Ne(level, old));
    if (hn::AllFalse(df, moves)) continue;
    const GridFloats lx = hn::Add(rest_lx, hn::Mul(wx, level));
    const GridFloats l2 = hn::Add(rest_l2, hn::Mul(hn::Mul(w, level), level));
    const auto gains =
        hn::Gt(hn::Mul(hn::Mul(lx, lx), fit.l2), hn::Mul(hn::Mul(fit.lx, fit.lx), l2));
    const auto accept = hn::And(moves, gains);
    if (hn::AllFalse(df, accept)) continue;
    any = true;
    hn::Store(hn::IfThenElse(accept, FirstFit::AsByte(level), old), df, fit.q + i);
    fit.lx = hn::IfThenElse(accept, lx, fit.lx);
    fit.l2 = hn::IfThenElse(accept, l2, fit.l2);
  }
  return any;
}

// FitFirst.
inline void FitFirstLanes(const BlockLanes& lanes, GridBlock* blocks) {
  const GridFloat df;
  FirstFit fit;
  fit.top = hn::Set(df, static_cast<float>(blocks[0].top_level() + 2));
  GridFloats max = hn::Zero(df);
  GridFloats min = hn::Zero(df);
  auto finite = hn::Eq(max, max);
  for (size_t i = 0; i < kMaxGridBlock * kGridLanes; i += kGridLanes) {
    const GridFloats x = hn::Load(df, lanes.x + i);
    max = hn::Max(max, x);
    min = hn::Min(min, x);
    finite = hn::And(finite, hn::Le(hn::Abs(x), hn::Set(df, std::numeric_limits<float>::max())));
  }
  const auto wraps_once = hn::Gt(hn::Mul(min, hn::Set(df, 5.f)), hn::Mul(max, hn::Set(df, -255.f)));
  fit.exact = hn::VecFromMask(df, hn::And(finite, wraps_once));
  fit.max = max;
  TryFirstScales(lanes, fit);
  for (int round = 0; round < 5 && DescendFirstFit(lanes, fit); ++round) {
  }
  HWY_ALIGN float scales[kGridLanes];
  HWY_ALIGN int32_t exact[kGridLanes];
  hn::Store(hn::IfThenElseZero(hn::Gt(fit.l2, hn::Zero(df)), hn::Div(fit.lx, fit.l2)), df, scales);
  hn::Store(hn::BitCast(GridInt(), fit.exact), GridInt(), exact);
  for (size_t j = 0; j < kGridLanes; ++j) {
    if (blocks[j].largest == 0) continue;
    if (exact[j] != 0 && blocks[j].largest > 1e-15f) {
      SetFirstFit(scales[j], &blocks[j]);
    } else {
      FitFirst(&blocks[j]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
