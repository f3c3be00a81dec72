// Vectors wider than a register, and the transposition that makes a lane a block.
//
// A search is a chain of dependent additions per block, which leaves most of a core idle; so
// kernels work on a set of lanes W: a vector, or a Pair of vectors whose chains overlap. Every
// operation is the same operation on each half: no lane sees another, and results do not depend on
// the width. Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_LANES_INL_H_
#undef QUERN_QUANT_LANES_INL_H_
#else
#define QUERN_QUANT_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using MF = hn::Mask<DF>;
using MI = hn::Mask<DI>;

template <class T>
struct Pair {
  T lo;
  T hi;
};

// Operations on halves, found by argument-dependent look-up down to the vectors themselves.
#define QUERN_PAIRWISE1(Op)                                        \
  template <class T>                                               \
  HWY_INLINE auto Op(const Pair<T>& a)->Pair<decltype(Op(a.lo))> { \
    return {Op(a.lo), Op(a.hi)};                                   \
  }
#define QUERN_PAIRWISE2(Op)                                                                \
  template <class T>                                                                       \
  HWY_INLINE auto Op(const Pair<T>& a, const Pair<T>& b)->Pair<decltype(Op(a.lo, b.lo))> { \
    return {Op(a.lo, b.lo), Op(a.hi, b.hi)};                                               \
  }
QUERN_PAIRWISE1(Abs)
QUERN_PAIRWISE1(Sqrt)
QUERN_PAIRWISE1(Not)
QUERN_PAIRWISE1(Round)
QUERN_PAIRWISE2(Add)
QUERN_PAIRWISE2(Sub)
QUERN_PAIRWISE2(Mul)
QUERN_PAIRWISE2(Div)
QUERN_PAIRWISE2(Min)
QUERN_PAIRWISE2(Max)
QUERN_PAIRWISE2(And)
QUERN_PAIRWISE2(Or)
QUERN_PAIRWISE2(Lt)
QUERN_PAIRWISE2(Le)
QUERN_PAIRWISE2(Gt)
QUERN_PAIRWISE2(Eq)
QUERN_PAIRWISE2(Ne)
#undef QUERN_PAIRWISE1
#undef QUERN_PAIRWISE2

template <class M, class T>
HWY_INLINE Pair<T> IfThenElse(const Pair<M>& mask, const Pair<T>& yes, const Pair<T>& no) {
  return {IfThenElse(mask.lo, yes.lo, no.lo), IfThenElse(mask.hi, yes.hi, no.hi)};
}

// What a set of lanes needs besides: its size, broadcast, memory, and a test of all lanes.
template <class W>
struct LaneOps;

template <>
struct LaneOps<VF> {
  using Mask = MF;
  using Int = VI;
  static constexpr size_t Lanes() { return hn::MaxLanes(DF()); }
  static HWY_INLINE VF Set(float value) { return hn::Set(DF(), value); }
  static HWY_INLINE VF Load(const float* p) { return hn::Load(DF(), p); }
  static HWY_INLINE void Store(VF v, float* p) { hn::Store(v, DF(), p); }
  static HWY_INLINE bool AllFalse(MF mask) { return hn::AllFalse(DF(), mask); }
};

template <class T>
struct LaneOps<Pair<T>> {
  using Half = LaneOps<T>;
  using Mask = Pair<typename Half::Mask>;
  static constexpr size_t Lanes() { return 2 * Half::Lanes(); }
  static HWY_INLINE Pair<T> Set(float value) { return {Half::Set(value), Half::Set(value)}; }
  static HWY_INLINE Pair<T> Load(const float* p) {
    return {Half::Load(p), Half::Load(p + Half::Lanes())};
  }
  static HWY_INLINE void Store(const Pair<T>& v, float* p) {
    Half::Store(v.lo, p);
    Half::Store(v.hi, p + Half::Lanes());
  }
  static HWY_INLINE bool AllFalse(const Mask& mask) { return Half::AllFalse(Or(mask.lo, mask.hi)); }
};

// Limits to 0..top, for top >= 0. Floats of one sign are ordered as integers, whose units are free
// where those for floats are the bottleneck: on Zen 3, float min and max share two units with
// additions, and integer min and max have four. A NaN gives 0 or top.
HWY_INLINE VF LimitBelow(VF value) {
  return hn::BitCast(DF(), hn::Max(hn::BitCast(DI(), value), hn::Zero(DI())));
}
HWY_INLINE VF LimitAbove(VF value, VF top) {
  return hn::BitCast(DF(), hn::Min(hn::BitCast(DI(), value), hn::BitCast(DI(), top)));
}
template <class T>
HWY_INLINE Pair<T> LimitBelow(const Pair<T>& value) {
  return {LimitBelow(value.lo), LimitBelow(value.hi)};
}
template <class T>
HWY_INLINE Pair<T> LimitAbove(const Pair<T>& value, const Pair<T>& top) {
  return {LimitAbove(value.lo, top.lo), LimitAbove(value.hi, top.hi)};
}

// NearestInt of any value but NaNs with a payload, limited to low..high.
HWY_INLINE VI NearestLimited(VF value, int low, int high) {
  const DI di;
  const VI bits = hn::BitCast(di, hn::Add(value, hn::Set(DF(), 12582912.f)));
  const VI nearest = hn::Sub(hn::And(bits, hn::Set(di, 0x007FFFFF)), hn::Set(di, 0x00400000));
  return hn::Min(hn::Max(nearest, hn::Set(di, low)), hn::Set(di, high));
}

HWY_INLINE VF RoundLimited(VF value, int low, int high) {
  return hn::ConvertTo(DF(), NearestLimited(value, low, high));
}
template <class T>
HWY_INLINE Pair<T> RoundLimited(const Pair<T>& value, int low, int high) {
  return {RoundLimited(value.lo, low, high), RoundLimited(value.hi, low, high)};
}

// lanes[i * count + j] = blocks[j][i] for j < count, i < n. count and n are multiples of 4 unless
// the target has one lane.
HWY_INLINE void Transpose(const float* const* blocks, size_t count, size_t n, float* lanes) {
#if HWY_TARGET == HWY_SCALAR
  for (size_t j = 0; j < count; ++j) {
    for (size_t i = 0; i < n; ++i) lanes[i * count + j] = blocks[j][i];
  }
#else
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> dd;  // moves pairs of floats
  for (size_t j = 0; j < count; j += 4) {
    for (size_t i = 0; i < n; i += 4) {
      const auto r0 = hn::LoadU(d, blocks[j] + i);
      const auto r1 = hn::LoadU(d, blocks[j + 1] + i);
      const auto r2 = hn::LoadU(d, blocks[j + 2] + i);
      const auto r3 = hn::LoadU(d, blocks[j + 3] + i);
      const auto a = hn::BitCast(dd, hn::InterleaveLower(d, r0, r1));
      const auto b = hn::BitCast(dd, hn::InterleaveLower(d, r2, r3));
      const auto e = hn::BitCast(dd, hn::InterleaveUpper(d, r0, r1));
      const auto f = hn::BitCast(dd, hn::InterleaveUpper(d, r2, r3));
      float* to = lanes + i * count + j;
      hn::Store(hn::BitCast(d, hn::InterleaveLower(dd, a, b)), d, to);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(dd, a, b)), d, to + count);
      hn::Store(hn::BitCast(d, hn::InterleaveLower(dd, e, f)), d, to + 2 * count);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(dd, e, f)), d, to + 3 * count);
    }
  }
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
