// Two vectors that run the same computation: a scalar search is one long chain of dependent
// operations, and a second chain beside it uses the time that the first one waits. Measured on AVX2
// in legacy_search_simd.cc: the search with min is 1.25 times as fast as with one vector, the one
// without 1.05 times.
//
// Contract: every operator is one IEEE operation per lane, in the order written. Internal to
// quant/, included by kernels after highway.h.
#if defined(QUERN_QUANT_WIDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_WIDE_INL_H_
#undef QUERN_QUANT_WIDE_INL_H_
#else
#define QUERN_QUANT_WIDE_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Lanes of the widest Wide of any target; buffers have this room.
inline constexpr size_t kMaxWideLanes = 32;

using WideFloat = hn::CappedTag<float, kMaxWideLanes / 2>;
using WideInt = hn::RebindToSigned<WideFloat>;

struct Wide {
  hn::Vec<WideFloat> a;
  hn::Vec<WideFloat> b;
};

struct WideMask {
  hn::Mask<WideFloat> a;
  hn::Mask<WideFloat> b;
};

HWY_INLINE size_t WideLanes() { return 2 * hn::Lanes(WideFloat()); }

HWY_INLINE Wide Splat(float value) {
  const auto v = hn::Set(WideFloat(), value);
  return {v, v};
}

// Vector `i` of an aligned buffer of vectors.
HWY_INLINE Wide At(const float* vectors, size_t i) {
  const WideFloat d;
  const float* from = vectors + i * WideLanes();
  return {hn::Load(d, from), hn::Load(d, from + hn::Lanes(d))};
}

HWY_INLINE void Put(float* vectors, size_t i, Wide v) {
  const WideFloat d;
  float* to = vectors + i * WideLanes();
  hn::Store(v.a, d, to);
  hn::Store(v.b, d, to + hn::Lanes(d));
}

HWY_INLINE Wide operator+(Wide x, Wide y) { return {hn::Add(x.a, y.a), hn::Add(x.b, y.b)}; }
HWY_INLINE Wide operator-(Wide x, Wide y) { return {hn::Sub(x.a, y.a), hn::Sub(x.b, y.b)}; }
HWY_INLINE Wide operator*(Wide x, Wide y) { return {hn::Mul(x.a, y.a), hn::Mul(x.b, y.b)}; }
HWY_INLINE Wide operator/(Wide x, Wide y) { return {hn::Div(x.a, y.a), hn::Div(x.b, y.b)}; }
HWY_INLINE Wide Abs(Wide x) { return {hn::Abs(x.a), hn::Abs(x.b)}; }
HWY_INLINE Wide Sqrt(Wide x) { return {hn::Sqrt(x.a), hn::Sqrt(x.b)}; }

// No operand of these may be NaN unless either result will do.
HWY_INLINE Wide Min(Wide x, Wide y) { return {hn::Min(x.a, y.a), hn::Min(x.b, y.b)}; }
HWY_INLINE Wide Max(Wide x, Wide y) { return {hn::Max(x.a, y.a), hn::Max(x.b, y.b)}; }

HWY_INLINE WideMask operator<(Wide x, Wide y) { return {hn::Lt(x.a, y.a), hn::Lt(x.b, y.b)}; }
HWY_INLINE WideMask operator>(Wide x, Wide y) { return {hn::Gt(x.a, y.a), hn::Gt(x.b, y.b)}; }
HWY_INLINE WideMask operator==(Wide x, Wide y) { return {hn::Eq(x.a, y.a), hn::Eq(x.b, y.b)}; }
HWY_INLINE WideMask operator&(WideMask x, WideMask y) {
  return {hn::And(x.a, y.a), hn::And(x.b, y.b)};
}

HWY_INLINE bool All(WideMask mask) {
  const WideFloat d;
  return hn::AllTrue(d, mask.a) && hn::AllTrue(d, mask.b);
}

HWY_INLINE Wide Select(WideMask mask, Wide yes, Wide no) {
  return {hn::IfThenElse(mask.a, yes.a, no.a), hn::IfThenElse(mask.b, yes.b, no.b)};
}
HWY_INLINE Wide SelectOrZero(WideMask mask, Wide yes) {
  return {hn::IfThenElseZero(mask.a, yes.a), hn::IfThenElseZero(mask.b, yes.b)};
}

// NearestInt where |v| < 2^22.
HWY_INLINE Wide RoundSmall(Wide v) {
  const Wide shift = Splat(0x1.8p23f);
  return v + shift - shift;
}

// NearestInt of any value.
HWY_INLINE hn::Vec<WideFloat> RoundAny(hn::Vec<WideFloat> v) {
  const WideFloat df;
  const WideInt di;
  const auto bits = hn::BitCast(di, hn::Add(v, hn::Set(df, 0x1.8p23f)));
  const auto mantissa = hn::And(bits, hn::Set(di, 0x007FFFFF));
  return hn::ConvertTo(df, hn::Sub(mantissa, hn::Set(di, 0x00400000)));
}
HWY_INLINE Wide RoundAny(Wide v) { return {RoundAny(v.a), RoundAny(v.b)}; }

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
