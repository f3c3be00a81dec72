#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "verify/reference/vector_math.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "verify/reference/vector_math.h"

HWY_BEFORE_NAMESPACE();
namespace quern::verify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using Half = hn::Half<D>;
using DD = hn::Rebind<double, Half>;
using VD = hn::Vec<DD>;

// One lane, for the ends of rows: the same arithmetic for every element, wherever it stands.
using D1 = hn::CappedTag<float, 1>;

// Sums of f32 lanes in f64.
class Accumulator {
 public:
  HWY_INLINE Accumulator() : low_(hn::Zero(DD())), high_(hn::Zero(DD())) {}
  HWY_INLINE void Add(V values) {
    const Half half;
    const DD dd;
    low_ = hn::Add(low_, hn::PromoteTo(dd, hn::LowerHalf(half, values)));
#if HWY_TARGET != HWY_SCALAR
    high_ = hn::Add(high_, hn::PromoteTo(dd, hn::UpperHalf(half, values)));
#endif
  }
  // Squared in f64, where no f32 overflows.
  HWY_INLINE void AddSquares(V values) {
    const Half half;
    const DD dd;
    const VD low = hn::PromoteTo(dd, hn::LowerHalf(half, values));
    low_ = hn::Add(low_, hn::Mul(low, low));
#if HWY_TARGET != HWY_SCALAR
    const VD high = hn::PromoteTo(dd, hn::UpperHalf(half, values));
    high_ = hn::Add(high_, hn::Mul(high, high));
#endif
  }
  HWY_INLINE void AddOneSquare(float value) {
    rest_ += static_cast<double>(value) * static_cast<double>(value);
  }
  HWY_INLINE void AddOne(float value) { rest_ += static_cast<double>(value); }
  HWY_INLINE double Total() const {
    const DD dd;
    return rest_ + hn::GetLane(hn::SumOfLanes(dd, hn::Add(low_, high_)));
  }

 private:
  VD low_, high_;
  double rest_ = 0;
};

// Calls `vector(i)` for whole vectors and `single(i)` for what is left.
template <class Vector, class Single>
HWY_INLINE void Walk(size_t n, const Vector& vector, const Single& single) {
  const size_t lanes = hn::Lanes(D());
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) vector(i);
  for (; i < n; ++i) single(i);
}

HWY_INLINE float Exp1(float x) {
  const D1 d;
  return hn::GetLane(hn::Exp(d, hn::Set(d, x)));
}

float Largest(const float* x, size_t n) {
  const D d;
  V most = hn::Set(d, x[0]);
  float rest = x[0];
  Walk(
      n, [&](size_t i) HWY_ATTR { most = hn::Max(most, hn::LoadU(d, x + i)); },
      [&](size_t i) HWY_ATTR { rest = x[i] > rest ? x[i] : rest; });
  const float lanes = hn::GetLane(hn::MaxOfLanes(d, most));
  return lanes > rest ? lanes : rest;
}

double ExponentiateAndSum(float* x, size_t n, float shift) {
  const D d;
  const V shifts = hn::Set(d, shift);
  Accumulator sum;
  Walk(
      n,
      [&](size_t i) HWY_ATTR {
        const V power = hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), shifts));
        hn::StoreU(power, d, x + i);
        sum.Add(power);
      },
      [&](size_t i) HWY_ATTR { sum.AddOne(x[i] = Exp1(x[i] - shift)); });
  return sum.Total();
}

double SumOfExponentials(const float* x, size_t n, float shift) {
  const D d;
  const V shifts = hn::Set(d, shift);
  Accumulator sum;
  Walk(
      n, [&](size_t i) HWY_ATTR { sum.Add(hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), shifts))); },
      [&](size_t i) HWY_ATTR { sum.AddOne(Exp1(x[i] - shift)); });
  return sum.Total();
}

double WeightedDifference(const float* x, const float* y, size_t n, float shift) {
  const D d;
  const V shifts = hn::Set(d, shift);
  Accumulator sum;
  Walk(
      n,
      [&](size_t i) HWY_ATTR {
        const V a = hn::LoadU(d, x + i);
        sum.Add(hn::Mul(hn::Exp(d, hn::Sub(a, shifts)), hn::Sub(a, hn::LoadU(d, y + i))));
      },
      [&](size_t i) HWY_ATTR { sum.AddOne(Exp1(x[i] - shift) * (x[i] - y[i])); });
  return sum.Total();
}

void Scale(float* x, size_t n, float factor) {
  const D d;
  const V factors = hn::Set(d, factor);
  Walk(
      n, [&](size_t i) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factors), d, x + i); },
      [&](size_t i) HWY_ATTR { x[i] *= factor; });
}

double Sum(const float* x, size_t n) {
  const D d;
  Accumulator sum;
  Walk(
      n, [&](size_t i) HWY_ATTR { sum.Add(hn::LoadU(d, x + i)); },
      [&](size_t i) { sum.AddOne(x[i]); });
  return sum.Total();
}

double SumOfSquares(const float* x, size_t n, float mean) {
  const D d;
  const V means = hn::Set(d, mean);
  Accumulator sum;
  Walk(
      n, [&](size_t i) HWY_ATTR { sum.AddSquares(hn::Sub(hn::LoadU(d, x + i), means)); },
      [&](size_t i) HWY_ATTR { sum.AddOneSquare(x[i] - mean); });
  return sum.Total();
}

void Normalize(const float* x, size_t n, float mean, float factor, const float* weight,
               const float* bias, float* out) {
  const D d;
  const V means = hn::Set(d, mean);
  const V factors = hn::Set(d, factor);
  Walk(
      n,
      [&](size_t i) HWY_ATTR {
        const V unit = hn::Mul(hn::Sub(hn::LoadU(d, x + i), means), factors);
        const V scaled = hn::Mul(unit, hn::LoadU(d, weight + i));
        hn::StoreU(bias ? hn::Add(scaled, hn::LoadU(d, bias + i)) : scaled, d, out + i);
      },
      [&](size_t i) HWY_ATTR {
        const float scaled = (x[i] - mean) * factor * weight[i];
        out[i] = bias ? scaled + bias[i] : scaled;
      });
}

// x / (1 + exp(-slope)). Highway's Exp has no meaning above 104; x / exp(88) is nothing already.
template <class DT>
HWY_INLINE hn::Vec<DT> Gated(DT d, hn::Vec<DT> x, hn::Vec<DT> slope) {
  const auto power = hn::Exp(d, hn::Min(hn::Neg(slope), hn::Set(d, 88.0f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), power));
}

// 0.5 x (1 + tanh(u)) = x * sigmoid(2u).
template <class DT>
HWY_INLINE hn::Vec<DT> GeluSlope(DT d, hn::Vec<DT> x) {
  const auto cube = hn::Mul(hn::Mul(x, x), x);
  const auto inner = hn::Add(x, hn::Mul(cube, hn::Set(d, 0.044715f)));
  return hn::Mul(inner, hn::Set(d, 1.5957691216057308f));  // 2 sqrt(2/pi)
}

template <class Function>
HWY_INLINE void Activate(float* gate, const float* up, size_t n, const Function& function) {
  const D d;
  const D1 d1;
  Walk(
      n,
      [&](size_t i) HWY_ATTR {
        const V value = function(d, hn::LoadU(d, gate + i));
        hn::StoreU(up ? hn::Mul(value, hn::LoadU(d, up + i)) : value, d, gate + i);
      },
      [&](size_t i) HWY_ATTR {
        const float value = hn::GetLane(function(d1, hn::Set(d1, gate[i])));
        gate[i] = up ? value * up[i] : value;
      });
}

void Silu(float* gate, const float* up, size_t n) {
  Activate(gate, up, n, [](auto d, auto x) HWY_ATTR { return Gated(d, x, x); });
}

void Gelu(float* gate, const float* up, size_t n) {
  Activate(gate, up, n, [](auto d, auto x) HWY_ATTR { return Gated(d, x, GeluSlope(d, x)); });
}

void AddScaled(const float* x, float factor, float* y, size_t n) {
  const D d;
  const V factors = hn::Set(d, factor);
  Walk(
      n,
      [&](size_t i) HWY_ATTR {
        const V scaled = hn::Mul(hn::LoadU(d, x + i), factors);
        hn::StoreU(hn::Add(hn::LoadU(d, y + i), scaled), d, y + i);
      },
      [&](size_t i) HWY_ATTR { y[i] += x[i] * factor; });
}

void AddSquares(const float* x, size_t n, double* sums) {
  const DD dd;
  const hn::Rebind<float, DD> d;
  const size_t lanes = hn::Lanes(dd);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VD values = hn::PromoteTo(dd, hn::LoadU(d, x + i));
    hn::StoreU(hn::Add(hn::LoadU(dd, sums + i), hn::Mul(values, values)), dd, sums + i);
  }
  for (; i < n; ++i) sums[i] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::verify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::verify {

HWY_EXPORT(Largest);
HWY_EXPORT(ExponentiateAndSum);
HWY_EXPORT(SumOfExponentials);
HWY_EXPORT(WeightedDifference);
HWY_EXPORT(Scale);
HWY_EXPORT(Sum);
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(Normalize);
HWY_EXPORT(Silu);
HWY_EXPORT(Gelu);
HWY_EXPORT(AddScaled);
HWY_EXPORT(AddSquares);

float Largest(const float* x, size_t n) { return HWY_DYNAMIC_DISPATCH(Largest)(x, n); }
double ExponentiateAndSum(float* x, size_t n, float shift) {
  return HWY_DYNAMIC_DISPATCH(ExponentiateAndSum)(x, n, shift);
}
double SumOfExponentials(const float* x, size_t n, float shift) {
  return HWY_DYNAMIC_DISPATCH(SumOfExponentials)(x, n, shift);
}
double WeightedDifference(const float* x, const float* y, size_t n, float shift) {
  return HWY_DYNAMIC_DISPATCH(WeightedDifference)(x, y, n, shift);
}
void Scale(float* x, size_t n, float factor) { HWY_DYNAMIC_DISPATCH(Scale)(x, n, factor); }
double Sum(const float* x, size_t n) { return HWY_DYNAMIC_DISPATCH(Sum)(x, n); }
double SumOfSquares(const float* x, size_t n, float mean) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquares)(x, n, mean);
}
void Normalize(const float* x, size_t n, float mean, float factor, const float* weight,
               const float* bias, float* out) {
  HWY_DYNAMIC_DISPATCH(Normalize)(x, n, mean, factor, weight, bias, out);
}
void Silu(float* gate, const float* up, size_t n) { HWY_DYNAMIC_DISPATCH(Silu)(gate, up, n); }
void Gelu(float* gate, const float* up, size_t n) { HWY_DYNAMIC_DISPATCH(Gelu)(gate, up, n); }
void AddScaled(const float* x, float factor, float* y, size_t n) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(x, factor, y, n);
}
void AddSquares(const float* x, size_t n, double* sums) {
  HWY_DYNAMIC_DISPATCH(AddSquares)(x, n, sums);
}

}  // namespace quern::verify
#endif  // HWY_ONCE
