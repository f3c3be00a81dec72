// The search of the types with a grid: for each block all candidate scales, one per lane, and then
// for as many blocks as lanes the best of these.
//
// From one candidate to the next few levels change: of 19, a group sees three codes. So runs of
// candidates with equal codes, which have the same near points, take the choice among these
// together (iquant_costs-inl.h). Sums are made in the order of iquant_ref.cc. Per-target include
// file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_SEARCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_SEARCH_INL_H_
#undef QUERN_QUANT_IQUANT_SEARCH_INL_H_
#else
#define QUERN_QUANT_IQUANT_SEARCH_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "quant/iquant_costs-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

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

// Candidates in the order of their steps; the last is repeated to fill the last vector. Candidate c
// of group g is at g * count + c. Behind is room for a vector that begins at any candidate.
struct Candidates {
  static constexpr size_t kMax = 32;
  static constexpr size_t kRoom = kMax + kGridLanes;
  size_t count;
  size_t reciprocal;  // 2^16 / count, rounded up: divides small numbers by multiplication
  HWY_ALIGN float inverse[kRoom];
  // Of levels: scale * (2*level + 1), and for 3 bits those in reach of them.
  HWY_ALIGN float values[(8 + 2 * kContenderReach) * kRoom];
  HWY_ALIGN int32_t rounded[kMaxGroups * kMax + kGridLanes];
  int32_t* points;  // as `rounded`, but on the grid
  // Bit i: candidate i's code differs from the one before, or is the first of its group.
  uint64_t begins[kMaxGroups * kMax / 64];
};

// Candidates of a group with the same code off the grid.
struct Run {
  uint32_t contenders;  // Grid::ContendersAt
  uint16_t begin;
  uint16_t end;
};

// The largest level at each step, which divided by the largest weight is the inverse scale; as many
// as candidates.
struct StepSpans {
  size_t count;
  HWY_ALIGN float spans[Candidates::kRoom];

  StepSpans(const GridSearch& search, float span) {
    const size_t steps = static_cast<size_t>(2 * search.steps + 1);
    count = (steps + kGridLanes - 1) / kGridLanes * kGridLanes;
    for (size_t i = 0; i < count; ++i) {
      const int step = std::min(static_cast<int>(i) - search.steps, search.steps);
      spans[i] = span + static_cast<float>(step) * search.step;
    }
  }
};

template <class Shape>
HWY_INLINE void SetCandidates(const StepSpans& spans, float largest, Candidates& tried) {
  const GridFloat df;
  constexpr int kFirst = Shape::kBits == 2 ? 0 : -2;
  tried.count = spans.count;
  tried.reciprocal = (65535 + spans.count) / spans.count;
  for (size_t v = 0; v < tried.count; v += kGridLanes) {
    const GridFloats inverse = hn::Div(hn::Load(df, spans.spans + v), hn::Set(df, largest));
    const GridFloats scale = hn::Div(hn::Set(df, 1.f), inverse);
    hn::Store(inverse, df, tried.inverse + v);
    float* to = tried.values + v;
    for (int level = kFirst; level <= Shape::kTop - kFirst; ++level, to += Candidates::kRoom) {
      const float q = level < 0             ? -1e10f
                      : level > Shape::kTop ? 1e10f
                                            : static_cast<float>(2 * level + 1);
      hn::Store(hn::Mul(scale, hn::Set(df, q)), df, to);
    }
  }
}

// Rounds all groups for all candidates. Equal codes lie together, since levels rise with the
// inverse scale.
template <class Shape>
HWY_INLINE void RoundCandidates(const float* x, size_t groups, Candidates& tried) {
  const GridInt di;
  HWY_ALIGN int32_t rotation[kGridLanes];
  for (size_t i = 0; i < kGridLanes; ++i) {
    rotation[i] = static_cast<int32_t>((i + kGridLanes - 1) % kGridLanes);
  }
  const auto rotate = hn::SetTableIndices(di, rotation);
  const auto first_lane = hn::Eq(hn::Iota(di, 0), hn::Zero(di));
  std::fill_n(tried.begins, (groups * tried.count + 63) / 64, uint64_t{0});
  for (size_t g = 0; g < groups; ++g) {
    GridInts last = hn::Set(di, -1);
    for (size_t v = 0; v < tried.count; v += kGridLanes) {
      const size_t at = g * tried.count + v;
      const GridInts code =
          RoundGroup<Shape>(hn::Load(GridFloat(), tried.inverse + v), x + g * Shape::kGroup);
      hn::Store(code, di, tried.rounded + at);
      hn::Store(code, di, tried.points + at);
      const GridInts rotated = hn::TableLookupLanes(code, rotate);
      uint8_t bits[8] = {};
      hn::StoreMaskBits(di, hn::Ne(code, hn::IfThenElse(first_lane, last, rotated)), bits);
      tried.begins[at / 64] |= uint64_t{bits[0]} << (at % 64);
      last = rotated;
    }
  }
}

// The runs of a block; returns their end. Nobody can predict which codes are on the grid, hence no
// branch.
inline Run* FindRuns(const Grid& grid, size_t groups, const Candidates& tried, Run* runs) {
  const size_t end = groups * tried.count;
  uint16_t begins[kMaxGroups * Candidates::kMax + 1];
  size_t count = 0;
  for (size_t at = 0; at < end; at += 64) {
    for (uint64_t bits = tried.begins[at / 64]; bits != 0; bits &= bits - 1) {
      begins[count++] = static_cast<uint16_t>(at + static_cast<size_t>(std::countr_zero(bits)));
    }
  }
  begins[count] = static_cast<uint16_t>(end);
  for (size_t i = 0; i < count; ++i) {
    runs->contenders = grid.ContendersAt(static_cast<uint32_t>(tried.rounded[begins[i]]));
    runs->begin = begins[i];
    runs->end = begins[i + 1];
    hwy::Prefetch(grid.Contenders(runs->contenders));
    runs += runs->contenders != 0;
  }
  return runs;
}

// The points for some candidates of a run, from `at` on.
template <class Shape>
HWY_INLINE void TakeToGrid(const GridBlock& block, const Run& run, size_t at,
                           LevelCosts<Shape>& costs, Candidates& tried) {
  const GridInt di;
  const size_t g = at * tried.reciprocal >> 16;
  const size_t c = at - g * tried.count;
  const size_t i = g * Shape::kGroup;
  const uint32_t code = static_cast<uint32_t>(tried.rounded[at]);
  const auto in_run = hn::FirstN(di, std::min(run.end - at, kGridLanes));
  const auto nearest =
      hn::RebindMask(di, costs.Set(code, tried.values + c, Candidates::kRoom, block.x + i,
                                   block.roots + i, block.grid->data().shells > 1));
  const uint16_t* const list = block.grid->Contenders(run.contenders);
  if (list[0] != 0 && hn::AllFalse(di, hn::AndNot(nearest, in_run))) {
    const GridInts points = BestContender<Shape>(costs, list + 1, list[0]);
    int32_t* to = tried.points + at;
    hn::StoreU(hn::IfThenElse(in_run, points, hn::LoadU(di, to)), di, to);
    return;
  }
  for (size_t j = 0; j < std::min(run.end - at, kGridLanes); ++j) {
    tried.points[at + j] =
        kOffGrid | BestNearPoints<Shape>(block, g, 1 / tried.inverse[c + j], code);
  }
}

// What the choice among candidates goes by, for the blocks of kGridLanes lanes.
struct Trials {
  size_t count;
  // [block][candidate]
  HWY_ALIGN float squares[kGridLanes][Candidates::kMax];  // of xq; NaN where there is no scale
  HWY_ALIGN float qq[kGridLanes][Candidates::kMax];
  HWY_ALIGN float scales[kGridLanes][Candidates::kMax];  // xq / qq
  HWY_ALIGN float gains[kGridLanes][Candidates::kMax];   // scale * xq
  HWY_ALIGN int32_t points[kGridLanes][kMaxGroups * Candidates::kMax + kGridLanes];
};

template <class Shape>
HWY_INLINE void SumCandidates(const GridBlock& block, size_t j, const float* wx, Trials& trials) {
  const GridFloat df;
  for (size_t v = 0; v < trials.count; v += kGridLanes) {
    GridFloats xq = hn::Zero(df);
    GridFloats qq = hn::Zero(df);
    for (size_t g = 0; g < block.groups(); ++g) {
      const GridInts points = hn::Load(GridInt(), trials.points[j] + g * trials.count + v);
      AddGroup<Shape>(points, wx + g * Shape::kGroup, block.weights + g * Shape::kGroup, xq, qq);
    }
    const GridFloats scale = hn::Div(xq, qq);
    const GridFloats none = hn::Set(df, std::numeric_limits<float>::quiet_NaN());
    const GridFloats square = hn::IfThenElse(hn::Gt(qq, hn::Zero(df)), hn::Mul(xq, xq), none);
    hn::Store(square, df, trials.squares[j] + v);
    hn::Store(qq, df, trials.qq[j] + v);
    hn::Store(scale, df, trials.scales[j] + v);
    hn::Store(hn::Mul(scale, xq), df, trials.gains[j] + v);
  }
}

template <class Shape>
void TryBlock(const StepSpans& spans, const GridBlock& block, size_t j, Trials& trials) {
  float x[kMaxGridBlock];
  float wx[kMaxGridBlock];
  for (size_t i = 0; i < block.n; ++i) {
    x[i] = std::max(block.x[i], 0.f);
    wx[i] = block.weights[i] * block.x[i];
  }
  Candidates tried;
  tried.points = trials.points[j];
  SetCandidates<Shape>(spans, block.largest, tried);
  RoundCandidates<Shape>(x, block.groups(), tried);
  Run runs[kMaxGroups * Candidates::kMax + 1];
  const Run* const runs_end = FindRuns(*block.grid, block.groups(), tried, runs);
  LevelCosts<Shape> costs;
  for (const Run* run = runs; run < runs_end; ++run) {
    for (size_t at = run->begin; at < run->end; at += kGridLanes) {
      TakeToGrid<Shape>(block, *run, at, costs, tried);
    }
  }
  SumCandidates<Shape>(block, j, wx, trials);
}

// The candidates that win, one for each block; -1: none does. One after the other, since each has
// to beat the best so far, but without branches: nobody can predict them.
HWY_INLINE GridInts Winners(const Trials& trials) {
  const GridFloat df;
  const GridInt di;
  HWY_ALIGN float squares[Candidates::kMax * kGridLanes];
  HWY_ALIGN float qq[Candidates::kMax * kGridLanes];
  HWY_ALIGN float gains[Candidates::kMax * kGridLanes];
  const float* rows[3][kGridLanes];
  for (size_t j = 0; j < kGridLanes; ++j) {
    rows[0][j] = trials.squares[j];
    rows[1][j] = trials.qq[j];
    rows[2][j] = trials.gains[j];
  }
  Transpose(rows[0], kGridLanes, trials.count, squares);
  Transpose(rows[1], kGridLanes, trials.count, qq);
  Transpose(rows[2], kGridLanes, trials.count, gains);
  GridFloats best = hn::Zero(df);
  GridInts winner = hn::Set(di, -1);
  for (size_t c = 0; c < trials.count; ++c) {
    const size_t at = c * kGridLanes;
    const auto better = hn::Gt(hn::Load(df, squares + at), hn::Mul(best, hn::Load(df, qq + at)));
    best = hn::IfThenElse(better, hn::Load(df, gains + at), best);
    winner = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, static_cast<int>(c)), winner);
  }
  return winner;
}

// SearchScales for the blocks of all lanes that have a largest weight.
template <class Shape>
void SearchLanes(const StepSpans& spans, const BlockLanes& lanes, const GridBlock* blocks,
                 GridFit* fits) {
  Trials trials;
  trials.count = spans.count;
  for (size_t j = 0; j < kGridLanes; ++j) {
    if (lanes.regular[j]) {
      TryBlock<Shape>(spans, blocks[j], j, trials);
    } else {
      for (auto* row : {trials.squares[j], trials.qq[j], trials.gains[j]}) {
        std::fill_n(row, trials.count, 0.f);
      }
    }
  }
  HWY_ALIGN int32_t winners[kGridLanes];
  hn::Store(Winners(trials), GridInt(), winners);
  for (size_t j = 0; j < kGridLanes; ++j) {
    if (!lanes.regular[j]) {
      if (blocks[j].largest != 0) SearchScales(blocks[j], &fits[j]);
      continue;
    }
    const bool any = winners[j] >= 0;
    const size_t winner = any ? static_cast<size_t>(winners[j]) : 0;
    fits[j].scale = any ? trials.scales[j][winner] : blocks[j].first_scale;
    for (size_t g = 0; g < blocks[j].groups(); ++g) {
      const int32_t point = trials.points[j][g * trials.count + winner];
      fits[j].codes[g] = any ? static_cast<uint16_t>(point) : uint16_t{0};
      fits[j].on_grid[g] = any ? (point & kOffGrid) == 0 : !blocks[j].search->refit_all;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
