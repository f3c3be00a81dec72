// The search of the types with a grid for one block, a candidate scale per lane.
//
// From one candidate to the next few levels change: of 19, a group sees three codes. So lanes with
// equal codes, which have the same near points, take the choice among these together. What a level
// of a weight costs is a vector over the candidates, and a point's error a sum of such vectors:
//
//   costs    [weight of the group][level], each a vector: (root * diff) * diff,
//            diff = scale * (2*level + 1) - x
//   a point  costs[0][level 0] + costs[1][level 1] + ...
//
// which are the operations of iquant_ref.cc in their order, whatever the width of vectors.
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_SEARCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_SEARCH_INL_H_
#undef QUERN_QUANT_IQUANT_SEARCH_INL_H_
#else
#define QUERN_QUANT_IQUANT_SEARCH_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <span>

#include "quant/iquant_ref.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Blocks of a superblock are eight or sixteen, and candidates come in multiples of eight, nearly.
using GridFloat = hn::CappedTag<float, 8>;
using GridInt = hn::RebindToSigned<GridFloat>;
using GridFloats = hn::Vec<GridFloat>;
using GridInts = hn::Vec<GridInt>;
constexpr size_t kGridLanes = hn::MaxLanes(GridFloat());

// A grid as template arguments.
template <int bits, size_t group>
struct GridShape {
  static constexpr int kBits = bits;
  static constexpr size_t kGroup = group;
  static constexpr int kTop = bits == 2 ? 2 : 7;
  static constexpr size_t kLevels = size_t{1} << bits;  // room for
};
using Shape2 = GridShape<2, 8>;
using Shape3 = GridShape<3, 4>;

// The roundings of a group, limited to the levels there are, as codes. Rounding by addition:
// 0.5 * v + 1.5 * 2^23 is half of v + 1.5 * 2^24 to the bit. Values are below 2^22 in magnitude
// and, since x is not negative, above -1: they round to 0 and up.
template <class Shape>
HWY_INLINE GridInts RoundGroup(GridFloats inverse, const float* x) {
  const GridFloat df;
  const GridInt di;
  const GridFloats shift = hn::Set(df, 0x1.8p24f);
  const GridInts zero_level = hn::BitCast(di, shift);
  const GridInts top = hn::Add(zero_level, hn::Set(di, Shape::kTop));
  GridInts code = hn::Zero(di);
  for (size_t k = Shape::kGroup; k-- > 0;) {
    const GridFloats v = hn::Sub(hn::Mul(inverse, hn::Set(df, x[k])), hn::Set(df, 1.f));
    const GridInts level = hn::Min(hn::BitCast(di, hn::Add(v, shift)), top);
    code = hn::Add(hn::ShiftLeft<Shape::kBits>(code), hn::Sub(level, zero_level));
  }
  return code;
}

// Adds a group's products to the sums.
template <class Shape>
HWY_INLINE void AddGroup(GridInts code, const float* wx, const float* w, GridFloats& xq,
                         GridFloats& qq) {
  const GridFloat df;
  const GridInt di;
  // A float of 16 to 32 has its units at bit 19: 17 + 2*level.
  const GridInts seventeen = hn::Set(di, 0x41880000);
  const GridInts mask = hn::Set(di, static_cast<int>(Shape::kLevels - 1) << 20);
  for (size_t k = 0; k < Shape::kGroup; ++k) {
    const int at = Shape::kBits * static_cast<int>(k);
    const GridInts moved = at < 20 ? hn::ShiftLeftSame(code, 20 - at) : code;
    const GridFloats bits = hn::BitCast(df, hn::Or(hn::And(moved, mask), seventeen));
    const GridFloats q = hn::Sub(bits, hn::Set(df, 16.f));
    xq = hn::Add(xq, hn::Mul(hn::Set(df, wx[k]), q));
    qq = hn::Add(qq, hn::Mul(hn::Mul(hn::Set(df, w[k]), q), q));
  }
}

// What each level of each weight of a group costs, for kGridLanes candidates.
template <class Shape>
struct LevelCosts {
  // Levels are cut out of codes in units of kUnit, which leaves a factor for the address.
  static constexpr int kUnit = kGridLanes % 4 == 0 ? 2 : 0;  // log2
  HWY_ALIGN float costs[Shape::kGroup * Shape::kLevels * kGridLanes];

  HWY_INLINE GridFloats At(size_t k, uint32_t code) const {
    const int shift = Shape::kBits * static_cast<int>(k) - kUnit;
    const uint32_t moved = shift < 0 ? code << -shift : code >> shift;
    const size_t level = moved & static_cast<uint32_t>((Shape::kLevels - 1) << kUnit);
    return hn::Load(GridFloat(),
                    costs + k * Shape::kLevels * kGridLanes + level * (kGridLanes >> kUnit));
  }

  // values: scale * (2*level + 1), kRoom for each level.
  HWY_INLINE void Set(const float* values, size_t room, const float* x, const float* roots) {
    const GridFloat df;
    GridFloats value[Shape::kTop + 1];
    for (size_t level = 0; level <= Shape::kTop; ++level) {
      value[level] = hn::LoadU(df, values + level * room);
    }
    for (size_t k = 0; k < Shape::kGroup; ++k) {
      const GridFloats xk = hn::Set(df, x[k]);
      const GridFloats root = hn::Set(df, roots[k]);
      float* to = costs + k * Shape::kLevels * kGridLanes;
      for (size_t level = 0; level <= Shape::kTop; ++level, to += kGridLanes) {
        const GridFloats diff = hn::Sub(value[level], xk);
        hn::Store(hn::Mul(hn::Mul(root, diff), diff), df, to);
      }
    }
  }
};

// The best of the points near a code, in each lane.
template <class Shape>
HWY_INLINE GridInts BestNearCandidates(const LevelCosts<Shape>& costs,
                                       std::span<const uint16_t> near) {
  constexpr size_t kStep = 4;  // points at once; lists are filled up to a multiple
  const GridFloat df;
  const GridInt di;
  GridFloats best = hn::Set(df, std::numeric_limits<float>::max());
  GridInts best_point = hn::Set(di, near.front());
  const uint16_t* const end = near.data() + near.size();
  for (const uint16_t* at = near.data(); at < end; at += kStep) {
    GridFloats errors[kStep];
    for (size_t j = 0; j < kStep; ++j) {
      GridFloats error = costs.At(0, at[j]);
      for (size_t k = 1; k < Shape::kGroup; ++k) error = hn::Add(error, costs.At(k, at[j]));
      errors[j] = error;
    }
    for (size_t j = 0; j < kStep; ++j) {
      const auto better = hn::Lt(errors[j], best);
      best = hn::IfThenElse(better, errors[j], best);
      best_point = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, at[j]), best_point);
    }
  }
  return best_point;
}

// Candidates in the order of their steps; the last is repeated to fill the last vector. Behind each
// row is room for a vector that begins at any candidate.
struct Candidates {
  static constexpr size_t kRoom = 32 + kGridLanes;
  size_t count;
  HWY_ALIGN float inverse[kRoom];
  HWY_ALIGN float values[8 * kRoom];  // of levels: scale * (2*level + 1)
  HWY_ALIGN int32_t rounded[kMaxGroups * kRoom];
  HWY_ALIGN int32_t points[kMaxGroups * kRoom];
  HWY_ALIGN float xq[kRoom];
  HWY_ALIGN float qq[kRoom];
};

// Candidates of a group with the same code off the grid.
struct Run {
  uint32_t code;
  uint32_t group;
  uint32_t begin;
  uint32_t end;
};

template <class Shape>
HWY_INLINE void SetCandidates(const GridBlock& block, Candidates& tried) {
  const GridFloat df;
  const GridInt di;
  const GridSearch& search = *block.search;
  const GridFloats steps = hn::Set(df, static_cast<float>(search.steps));
  for (size_t v = 0; v < tried.count; v += kGridLanes) {
    const GridFloats from = hn::ConvertTo(df, hn::Iota(di, static_cast<int>(v) - search.steps));
    const GridFloats shift = hn::Mul(hn::Min(from, steps), hn::Set(df, search.step));
    const GridFloats inverse =
        hn::Div(hn::Add(hn::Set(df, block.span()), shift), hn::Set(df, block.largest));
    const GridFloats scale = hn::Div(hn::Set(df, 1.f), inverse);
    hn::Store(inverse, df, tried.inverse + v);
    for (size_t level = 0; level <= Shape::kTop; ++level) {
      const GridFloats q = hn::Set(df, static_cast<float>(2 * level + 1));
      hn::Store(hn::Mul(scale, q), df, tried.values + level * Candidates::kRoom + v);
    }
  }
}

// Rounds a group for all candidates. Bit i of the result: candidate i's code differs from the one
// before, or is the first. Equal codes lie together, since levels rise with the inverse scale.
template <class Shape>
HWY_INLINE uint64_t RoundCandidates(const float* x, size_t g, Candidates& tried) {
  const GridInt di;
  HWY_ALIGN int32_t rotation[kGridLanes];
  for (size_t i = 0; i < kGridLanes; ++i) {
    rotation[i] = static_cast<int32_t>((i + kGridLanes - 1) % kGridLanes);
  }
  const auto rotate = hn::SetTableIndices(di, rotation);
  const auto first_lane = hn::Eq(hn::Iota(di, 0), hn::Zero(di));
  GridInts last = hn::Set(di, -1);
  uint64_t begins = 0;
  for (size_t v = 0; v < tried.count; v += kGridLanes) {
    const GridInts code = RoundGroup<Shape>(hn::Load(GridFloat(), tried.inverse + v), x);
    hn::Store(code, di, tried.rounded + g * Candidates::kRoom + v);
    hn::Store(code, di, tried.points + g * Candidates::kRoom + v);
    const GridInts rotated = hn::TableLookupLanes(code, rotate);
    const GridInts before = hn::IfThenElse(first_lane, last, rotated);
    uint8_t bits[8] = {};
    hn::StoreMaskBits(di, hn::Ne(code, before), bits);
    begins |= uint64_t{bits[0]} << v;
    last = rotated;
  }
  return begins;
}

// All groups; returns the end of the runs.
template <class Shape>
HWY_INLINE Run* RoundBlock(const GridBlock& block, const float* x, Candidates& tried, Run* runs) {
  for (size_t g = 0; g < block.groups(); ++g) {
    uint64_t begins = RoundCandidates<Shape>(x + g * Shape::kGroup, g, tried);
    begins |= uint64_t{1} << tried.count;
    for (uint32_t begin = 0; begin < tried.count;) {
      begins &= begins - 1;
      const uint32_t end = static_cast<uint32_t>(std::countr_zero(begins));
      const uint32_t code = static_cast<uint32_t>(tried.rounded[g * Candidates::kRoom + begin]);
      *runs = {code, static_cast<uint32_t>(g), begin, end};
      runs += block.grid->Find(code) < 0;  // no branch: nobody can predict it
      begin = end;
    }
  }
  return runs;
}

// The point for each candidate of a run.
template <class Shape>
HWY_INLINE void TakeToGrid(const GridBlock& block, const Run& run, LevelCosts<Shape>& costs,
                           Candidates& tried) {
  const GridInt di;
  const size_t i = run.group * Shape::kGroup;
  const std::span<const uint16_t> near = block.grid->Near(run.code);
  for (size_t c = run.begin; c < run.end; c += kGridLanes) {
    costs.Set(tried.values + c, Candidates::kRoom, block.x + i, block.roots + i);
    int32_t* to = tried.points + run.group * Candidates::kRoom + c;
    const auto in_run = hn::FirstN(di, std::min(run.end - c, kGridLanes));
    hn::StoreU(hn::IfThenElse(in_run, BestNearCandidates<Shape>(costs, near), hn::LoadU(di, to)),
               di, to);
  }
}

template <class Shape>
HWY_INLINE void SumCandidates(const GridBlock& block, const float* wx, Candidates& tried) {
  const GridFloat df;
  for (size_t v = 0; v < tried.count; v += kGridLanes) {
    GridFloats xq = hn::Zero(df);
    GridFloats qq = hn::Zero(df);
    for (size_t g = 0; g < block.groups(); ++g) {
      const GridInts points = hn::Load(GridInt(), tried.points + g * Candidates::kRoom + v);
      AddGroup<Shape>(points, wx + g * Shape::kGroup, block.weights + g * Shape::kGroup, xq, qq);
    }
    hn::Store(xq, df, tried.xq + v);
    hn::Store(qq, df, tried.qq + v);
  }
}

// Whether roundings stay where RoundGroup is right.
inline bool IsRegular(const GridBlock& block) {
  uint32_t magnitude = 0;
  for (size_t i = 0; i < block.n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &block.x[i], sizeof(bits));
    magnitude = std::max(magnitude, bits & 0x7FFFFFFFu);
  }
  float largest;
  std::memcpy(&largest, &magnitude, sizeof(largest));
  return block.largest > 1e-30f && largest < 65536 * block.largest;  // false for NaNs
}

template <class Shape>
void SearchBlock(const GridBlock& block, GridFit* fit) {
  if (!IsRegular(block)) return SearchScales(block, fit);
  const GridSearch& search = *block.search;
  const size_t count = static_cast<size_t>(2 * search.steps + 1);
  float x[kMaxGridBlock];
  float wx[kMaxGridBlock];
  for (size_t i = 0; i < block.n; ++i) {
    x[i] = std::max(block.x[i], 0.f);
    wx[i] = block.weights[i] * block.x[i];
  }
  Candidates tried;
  tried.count = (count + kGridLanes - 1) / kGridLanes * kGridLanes;
  SetCandidates<Shape>(block, tried);
  Run runs[kMaxGroups * 32 + 1];
  const Run* const end = RoundBlock<Shape>(block, x, tried, runs);
  LevelCosts<Shape> costs;
  for (const Run* run = runs; run < end; ++run) TakeToGrid<Shape>(block, *run, costs, tried);
  SumCandidates<Shape>(block, wx, tried);
  fit->scale = block.first_scale;
  float best = 0;
  size_t winner = count;
  for (size_t c = 0; c < count; ++c) {
    const float xq = tried.xq[c];
    const float qq = tried.qq[c];
    if (qq > 0 && xq * xq > best * qq) {
      winner = c;
      fit->scale = xq / qq;
      best = fit->scale * xq;
    }
  }
  for (size_t g = 0; g < block.groups(); ++g) {
    if (winner == count) {
      fit->codes[g] = 0;
      fit->on_grid[g] = !search.refit_all;
      continue;
    }
    const size_t at = g * Candidates::kRoom + winner;
    fit->codes[g] = static_cast<uint16_t>(tried.points[at]);
    fit->on_grid[g] = tried.points[at] == tried.rounded[at];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
