// The vector search for the best split of IQ1 blocks into three levels; a lane is a block.
//
// Splits. All of them are scored, in the order of iquant1_ref.cc, as each improvement changes the
// score to beat, with its rounding. Improvements are dear (a division, and a branch nobody can
// predict), and most are beaten soon; so the score of some good split is found first, and the
// search starts with a little less than that. This is exact if the first split accepted beats the
// start by kMargin: none before it was better than the start, so that a search from nothing accepts
// it too, and from there on the two are the same. Otherwise blocks are searched again, from
// nothing.
//
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT1_SPLIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT1_SPLIT_INL_H_
#undef QUERN_QUANT_IQUANT1_SPLIT_INL_H_
#else
#define QUERN_QUANT_IQUANT1_SPLIT_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

#include "quant/iquant1_ref.h"
#include "quant/iquant1_sort-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace iq1 {

// Relative distance of scores that rounding cannot bridge: a comparison errs by a few 2^-24.
constexpr float kMargin = 0x1p-20f;

// Sums of a split with every shift.
template <size_t kShifts>
struct SplitSums {
  VF xq[kShifts];
  VF qq[kShifts];
};

// IQ1_S: one shift; sums over a level are differences of running sums.
class SumsS {
 public:
  static constexpr size_t kN = 32;
  static constexpr size_t kShifts = 2;
  static constexpr int kLowered[kShifts] = {0, kBothLowered};

  explicit SumsS(const Sorted<kN>& sorted) : least_weight(hn::Zero(DF())) {
    VF x = hn::Zero(DF());
    VF w = x;
    for (size_t j = 0; j <= kN; ++j) {
      StoreLanes(x, x_, j);
      StoreLanes(w, w_, j);
      if (j == kN) break;
      const VF weight = LoadLanes(sorted.weights, j);
      least_weight = hn::Min(least_weight, weight);
      x = hn::Add(x, hn::Mul(weight, LoadLanes(sorted.x, j)));
      w = hn::Add(w, weight);
    }
    for (size_t s = 0; s < kShifts; ++s) {
      const VF top = hn::Set(DF(), kIQ1Values[s][2]);
      for (size_t j = 0; j <= kN; ++j) {
        StoreLanes(hn::Mul(hn::Sub(x, LoadLanes(x_, j)), top), top_x_[s], j);
        const VF above = hn::Mul(hn::Sub(w, LoadLanes(w_, j)), top);
        StoreLanes(hn::Mul(above, top), top_w_[s], j);
      }
    }
  }

  VF TotalWeight() const { return LoadLanes(w_, kN); }
  VF least_weight;  // or 0

  // Splits whose level 0 is the first `low` weights.
  struct Row {
    const SumsS& sums;
    VF x;
    VF w;
    VF bottom_x[kShifts];
    VF bottom_w[kShifts];

    HWY_INLINE SplitSums<kShifts> At(size_t high) const {
      const VF middle = hn::Set(DF(), kIQ1Delta);
      const VF mx = hn::Mul(hn::Sub(LoadLanes(sums.x_, high), x), middle);
      const VF mw = hn::Mul(hn::Mul(hn::Sub(LoadLanes(sums.w_, high), w), middle), middle);
      return {{hn::Add(hn::Add(bottom_x[0], mx), LoadLanes(sums.top_x_[0], high)),
               hn::Add(hn::Sub(bottom_x[1], mx), LoadLanes(sums.top_x_[1], high))},
              {hn::Add(hn::Add(bottom_w[0], mw), LoadLanes(sums.top_w_[0], high)),
               hn::Add(hn::Add(bottom_w[1], mw), LoadLanes(sums.top_w_[1], high))}};
    }
  };
  HWY_INLINE Row RowOf(size_t low) const {
    const VF x = LoadLanes(x_, low);
    const VF w = LoadLanes(w_, low);
    const VF v[] = {hn::Set(DF(), kIQ1Values[0][0]), hn::Set(DF(), kIQ1Values[1][0])};
    return {*this,
            x,
            w,
            {hn::Mul(x, v[0]), hn::Mul(x, v[1])},
            {hn::Mul(hn::Mul(w, v[0]), v[0]), hn::Mul(hn::Mul(w, v[1]), v[1])}};
  }

 private:
  HWY_ALIGN float x_[(kN + 1) * kLanes];  // running sums
  HWY_ALIGN float w_[(kN + 1) * kLanes];
  HWY_ALIGN float top_x_[kShifts][(kN + 1) * kLanes];  // level 2 from here
  HWY_ALIGN float top_w_[kShifts][(kN + 1) * kLanes];
};

// IQ1_M: a shift for each half. Neighbouring levels are 1 apart, so that the sums of a half over
// its levels come to those for level 2 and two corrections, which do not depend on the shift for
// xq.
class SumsM {
 public:
  static constexpr size_t kN = 16;
  static constexpr size_t kShifts = 4;
  static constexpr int kLowered[kShifts] = {0, 2, 1, kBothLowered};

  explicit SumsM(const Sorted<kN>& sorted) : least_weight(hn::Zero(DF())) {
    const DI di;
    VF x[2] = {hn::Zero(DF()), hn::Zero(DF())};
    VF w[2] = {x[0], x[0]};
    for (size_t j = 0; j <= kN; ++j) {
      for (size_t h = 0; h < 2; ++h) {
        StoreLanes(x[h], x_[h], j);
        StoreLanes(w[h], w_[h], j);
        for (size_t l = 0; l < 2; ++l) {
          const float* v = kIQ1Values[l];
          StoreLanes(hn::Mul(w[h], hn::Set(DF(), v[1] * v[1] - v[2] * v[2])), high_w_[h][l], j);
        }
      }
      if (j == kN) break;
      const VF weight = LoadLanes(sorted.weights, j);
      least_weight = hn::Min(least_weight, weight);
      const VF product = hn::Mul(weight, LoadLanes(sorted.x, j));
      const VI place = hn::Load(di, sorted.places + j * kLanes);
      const MF second = hn::RebindMask(DF(), hn::Gt(place, hn::Set(di, kN / 2 - 1)));
      x[0] = hn::Add(x[0], hn::IfThenZeroElse(second, product));
      x[1] = hn::Add(x[1], hn::IfThenElseZero(second, product));
      w[0] = hn::Add(w[0], hn::IfThenZeroElse(second, weight));
      w[1] = hn::Add(w[1], hn::IfThenElseZero(second, weight));
    }
    for (size_t h = 0; h < 2; ++h) {
      for (size_t l = 0; l < 2; ++l) {
        const VF top = hn::Set(DF(), kIQ1Values[l][2]);
        total_x_[h][l] = hn::Mul(x[h], top);
        total_w_[h][l] = hn::Mul(hn::Mul(w[h], top), top);
      }
    }
  }

  VF TotalWeight() const { return hn::Add(LoadLanes(w_[0], kN), LoadLanes(w_[1], kN)); }
  VF least_weight;  // or 0

  struct Row {
    const SumsM& sums;
    VF x[2];
    VF w[2][2];

    HWY_INLINE SplitSums<kShifts> At(size_t high) const {
      VF xq[2][2];
      VF qq[2][2];
      for (size_t h = 0; h < 2; ++h) {
        const VF minus = hn::Add(x[h], LoadLanes(sums.x_[h], high));
        for (size_t l = 0; l < 2; ++l) {
          xq[h][l] = hn::Sub(sums.total_x_[h][l], minus);
          qq[h][l] = hn::Add(w[h][l], LoadLanes(sums.high_w_[h][l], high));
        }
      }
      SplitSums<kShifts> all;
      for (size_t s = 0; s < kShifts; ++s) {
        all.xq[s] = hn::Add(xq[0][s >> 1], xq[1][s & 1]);
        all.qq[s] = hn::Add(qq[0][s >> 1], qq[1][s & 1]);
      }
      return all;
    }
  };
  HWY_INLINE Row RowOf(size_t low) const {
    Row row{*this, {LoadLanes(x_[0], low), LoadLanes(x_[1], low)}, {}};
    for (size_t h = 0; h < 2; ++h) {
      const VF sum = LoadLanes(w_[h], low);
      for (size_t l = 0; l < 2; ++l) {
        const float* v = kIQ1Values[l];
        row.w[h][l] =
            hn::Add(total_w_[h][l], hn::Mul(sum, hn::Set(DF(), v[0] * v[0] - v[1] * v[1])));
      }
    }
    return row;
  }

 private:
  HWY_ALIGN float x_[2][(kN + 1) * kLanes];
  HWY_ALIGN float w_[2][(kN + 1) * kLanes];
  HWY_ALIGN float high_w_[2][2][(kN + 1) * kLanes];
  VF total_x_[2][2];
  VF total_w_[2][2];
};

// The best split so far. `number` is 4 * (64*low + high) + its place among the shifts; -1: none.
struct BestSplit {
  VF score;
  VF scale;
  VI number;
  VF safe;      // scores below are too near to what the search started with
  MF doubtful;  // such a one was accepted

  explicit BestSplit(VF start)
      : score(start),
        scale(hn::Zero(DF())),
        number(hn::Set(DI(), -1)),
        safe(hn::Mul(start, hn::Set(DF(), 1 + kMargin))),
        doubtful(hn::Lt(scale, scale)) {}

  HWY_INLINE void Try(VF xq, VF qq, int32_t candidate) {
    const DF df;
    const DI di;
    const MF better =
        hn::And(hn::Gt(qq, hn::Zero(df)), hn::Gt(hn::Mul(xq, xq), hn::Mul(score, qq)));
    const VF fit = hn::Div(xq, qq);
    scale = hn::IfThenElse(better, fit, scale);
    score = hn::IfThenElse(better, hn::Mul(fit, xq), score);
    number = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, candidate), number);
    doubtful = hn::Or(doubtful, hn::And(better, hn::Lt(score, safe)));
  }
};

// A little less than the best score of some splits about where the best one is when there are as
// many weights below zero as above; 0 where it cannot be told.
template <class Sums>
HWY_NOINLINE VF GoodScore(const Sums& sums) {
  constexpr size_t kHalf = Sums::kN / 2;
  constexpr size_t kStep = Sums::kN / 8;
  const DF df;
  VF best = hn::Zero(df);
  for (size_t low = kStep; low <= kHalf; low += kStep) {
    const auto row = sums.RowOf(low);
    for (size_t high = kHalf; high < Sums::kN; high += kStep) {
      const auto all = row.At(high);
      for (size_t s = 0; s < Sums::kShifts; ++s) {
        const VF score = hn::Div(hn::Mul(all.xq[s], all.xq[s]), all.qq[s]);
        best = hn::IfThenElse(hn::Gt(score, best), score, best);
      }
    }
  }
  return hn::Mul(best, hn::Set(df, 1 - 0x1p-15f));
}

template <class Sums>
HWY_NOINLINE void FindSplits(const Sums& sums, BestSplit* best) {
  const DF df;
  BestSplit found = *best;
  for (size_t low = 0; low <= Sums::kN; ++low) {
    const auto row = sums.RowOf(low);
    for (size_t high = low; high <= Sums::kN; ++high) {
      const auto all = row.At(high);
      MF any = hn::Gt(hn::Mul(all.xq[0], all.xq[0]), hn::Mul(found.score, all.qq[0]));
      for (size_t s = 1; s < Sums::kShifts; ++s) {
        any = hn::Or(any, hn::Gt(hn::Mul(all.xq[s], all.xq[s]), hn::Mul(found.score, all.qq[s])));
      }
      if (HWY_LIKELY(hn::AllFalse(df, any))) continue;
      for (size_t s = 0; s < Sums::kShifts; ++s) {
        found.Try(all.xq[s], all.qq[s], static_cast<int32_t>(4 * (64 * low + high) + s));
      }
    }
  }
  *best = found;
}

// Whether scores about this one have their full precision, so that kMargin holds: for weights >= 0,
// qq is at least 1/64 of their sum.
template <class Sums>
HWY_INLINE MF InRange(const Sums& sums, VF score) {
  const DF df;
  const VF weight = sums.TotalWeight();
  const VF product = hn::Mul(score, weight);
  const VF smallest = hn::Min(hn::Min(score, weight), product);
  const VF largest = hn::Max(hn::Max(score, weight), product);
  return hn::And(
      hn::Eq(sums.least_weight, hn::Zero(df)),
      hn::And(hn::Gt(smallest, hn::Set(df, 1e-33f)), hn::Lt(largest, hn::Set(df, 1e33f))));
}

// Lanes that are not live do not matter.
template <class Sums>
HWY_INLINE BestSplit BestSplits(const Sums& sums, MF live) {
  const DF df;
  BestSplit best(GoodScore(sums));
  if (HWY_LIKELY(hn::AllFalse(df, hn::AndNot(InRange(sums, best.score), live)))) {
    FindSplits(sums, &best);
    const MF none = hn::RebindMask(df, hn::Lt(best.number, hn::Zero(DI())));
    if (HWY_LIKELY(hn::AllFalse(df, hn::And(hn::Or(best.doubtful, none), live)))) return best;
  }
  best = BestSplit(hn::Set(df, -std::numeric_limits<float>::max()));
  FindSplits(sums, &best);
  return best;
}

}  // namespace iq1
}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
