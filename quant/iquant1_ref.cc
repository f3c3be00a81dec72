// IQ1_S and IQ1_M: the best split of a sorted block into three levels, then the grid.
#include "quant/iquant1_ref.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/blocks.h"

namespace quern::quant {
namespace {

constexpr size_t kMaxBlock = 32;

const float* Values(bool lowered) { return kIQ1Values[lowered ? 1 : 0]; }

// A block of 16 or 32 weights, and the order of their sizes; equal ones stay in order.
struct Block {
  size_t n;
  const float* x;
  const float* weights;
  uint8_t order[kMaxBlock];
};

void Sort(Block* block) {
  for (size_t i = 0; i < block->n; ++i) {
    size_t j = i;
    for (; j > 0 && block->x[i] < block->x[block->order[j - 1]]; --j) {
      block->order[j] = block->order[j - 1];
    }
    block->order[j] = static_cast<uint8_t>(i);
  }
}

float LargestMagnitude(const Block& block) {
  float largest = std::fabs(block.x[0]);
  for (size_t i = 1; i < block.n; ++i) {
    const float size = std::fabs(block.x[i]);
    largest = largest > size ? largest : size;
  }
  return largest;
}

Block BlockOf(const IQ1Type& type, const IQ1Superblock& work, size_t b) {
  return {type.block, work.x + b * type.block, work.weights + b * type.block, {}};
}

// The first `low` weights of the order have level 0, those before `high` level 1, the rest 2.
// Bit h of `lowered` is for half h of the block.
struct Split {
  size_t low = 0;
  size_t high = 0;
  int lowered = -1;  // none was found
  float scale = 0;
  float score = -std::numeric_limits<float>::max();

  void Try(float xq, float qq, size_t i1, size_t i2, int shifts) {
    if (!(qq > 0 && xq * xq > score * qq)) return;
    scale = xq / qq;
    score = scale * xq;
    low = i1;
    high = i2;
    lowered = shifts;
  }
};

// One shift for the block: sums over a level are differences of running sums.
Split FindSplitS(const Block& block) {
  const size_t n = block.n;
  float sum_x[kMaxBlock + 1] = {};
  float sum_w[kMaxBlock + 1] = {};
  for (size_t j = 0; j < n; ++j) {
    const size_t i = block.order[j];
    sum_x[j + 1] = sum_x[j] + block.weights[i] * block.x[i];
    sum_w[j + 1] = sum_w[j] + block.weights[i];
  }
  Split best;
  for (size_t i1 = 0; i1 <= n; ++i1) {
    for (size_t i2 = i1; i2 <= n; ++i2) {
      const float x[] = {sum_x[i1] - sum_x[0], sum_x[i2] - sum_x[i1], sum_x[n] - sum_x[i2]};
      const float w[] = {sum_w[i1] - sum_w[0], sum_w[i2] - sum_w[i1], sum_w[n] - sum_w[i2]};
      for (const int lowered : {0, kBothLowered}) {
        const float* v = Values(lowered != 0);
        const float xq = x[0] * v[0] + x[1] * v[1] + x[2] * v[2];
        const float qq = w[0] * v[0] * v[0] + w[1] * v[1] * v[1] + w[2] * v[2] * v[2];
        best.Try(xq, qq, i1, i2, lowered);
      }
    }
  }
  return best;
}

// Running sums of one half of a block, in the order of the weights' sizes.
struct RunningSums {
  float x[kMaxBlock + 1] = {};
  float w[kMaxBlock + 1] = {};
};

// What half a block adds for a split, with one shift: as neighbouring levels are 1 apart, its sums
// over the three levels come to the totals for level 2 and two corrections.
void HalfSums(const RunningSums& half, size_t n, size_t i1, size_t i2, bool lowered, float* xq,
              float* qq) {
  const float* v = Values(lowered);
  *xq = half.x[n] * v[2] - (half.x[i1] + half.x[i2]);
  *qq = half.w[n] * v[2] * v[2] + half.w[i1] * (v[0] * v[0] - v[1] * v[1]) +
        half.w[i2] * (v[1] * v[1] - v[2] * v[2]);
}

// A shift for each half.
Split FindSplitM(const Block& block) {
  const size_t n = block.n;
  RunningSums halves[2];
  for (size_t j = 0; j < n; ++j) {
    const size_t i = block.order[j];
    for (size_t h = 0; h < 2; ++h) {
      const bool mine = i / (n / 2) == h;
      halves[h].x[j + 1] = mine ? halves[h].x[j] + block.weights[i] * block.x[i] : halves[h].x[j];
      halves[h].w[j + 1] = mine ? halves[h].w[j] + block.weights[i] : halves[h].w[j];
    }
  }
  Split best;
  for (size_t i1 = 0; i1 <= n; ++i1) {
    for (size_t i2 = i1; i2 <= n; ++i2) {
      float xq[2][2];
      float qq[2][2];
      for (size_t h = 0; h < 2; ++h) {
        for (size_t l = 0; l < 2; ++l) HalfSums(halves[h], n, i1, i2, l != 0, &xq[h][l], &qq[h][l]);
      }
      // In the order of llama.cpp: the second half's shift is the faster one.
      for (const int lowered : {0, 2, 1, kBothLowered}) {
        const int first = lowered & 1;
        const int second = lowered >> 1;
        best.Try(xq[0][first] + xq[1][second], qq[0][first] + qq[1][second], i1, i2, lowered);
      }
    }
  }
  return best;
}

struct Sums {
  float xq = 0;
  float qq = 0;
};

// Adds what a block with the levels of `codes` contributes, the values multiplied by `factor`.
void AddSums(const Block& block, const IQ1Fit& fit, float factor, Sums* sums) {
  for (size_t i = 0; i < block.n; ++i) {
    const float* values = Values(fit.Lowered(block.n, i / 8));
    const float q = values[fit.codes[i / 8] >> (2 * (i % 8)) & 3] * factor;
    sums->xq += block.weights[i] * q * block.x[i];
    sums->qq += block.weights[i] * q * q;
  }
}

// Takes the split's levels to the grid.
IQ1Fit ToGrid(const Grid& grid, const Block& block, const Split& split) {
  uint8_t levels[kMaxBlock];
  for (size_t j = 0; j < block.n; ++j) {
    levels[block.order[j]] = static_cast<uint8_t>((j >= split.low) + (j >= split.high));
  }
  const bool flip = split.scale < 0;
  IQ1Fit fit{};
  fit.scale = flip ? -split.scale : split.scale;
  fit.lowered = flip ? split.lowered ^ kBothLowered : split.lowered;
  bool all_on_grid = true;
  for (size_t k = 0; k < block.n / 8; ++k) {
    uint32_t code = 0;
    for (size_t i = 0; i < 8; ++i) {
      const uint32_t level = flip ? 2u - levels[8 * k + i] : levels[8 * k + i];
      code |= level << (2 * i);
    }
    const bool on_grid = grid.Find(code) >= 0;
    all_on_grid = all_on_grid && on_grid;
    const float* values = Values(fit.Lowered(block.n, k));
    fit.codes[k] = on_grid ? static_cast<uint16_t>(code)
                           : BestNearIQ1(grid, block.x + 8 * k, block.weights + 8 * k, values,
                                         fit.scale, code);
  }
  if (all_on_grid) return fit;
  Sums sums;
  AddSums(block, fit, 1, &sums);
  if (sums.xq > 0 && sums.qq > 0) fit.scale = sums.xq / sums.qq;
  return fit;
}

// d and the multiples of it that stand for the scales; false if there is no scale.
bool ChooseScales(const IQ1Type& type, IQ1Superblock* work) {
  const size_t count = kSuperblock / type.block;
  std::fill_n(work->scales, count, uint8_t{0});
  work->d = 0;
  float largest = 0;
  for (size_t b = 0; b < count; ++b) {
    const float scale = work->fits[b].scale;
    largest = largest > scale ? largest : scale;
  }
  if (largest == 0) return false;
  work->d = largest / 15;
  const float inverse = 1 / work->d;
  for (size_t b = 0; b < count; ++b) {
    const int scale = NearestInt(0.5f * (inverse * work->fits[b].scale - 1));
    work->scales[b] = static_cast<uint8_t>(std::clamp(scale, 0, 7));
  }
  return true;
}

void Store(const IQ1Type& type, const Grid& grid, const IQ1Superblock& work, bool has_scale,
           uint8_t* block) {
  const size_t groups = type.block / 8;
  GridQuants quants{};
  for (size_t b = 0; b < kSuperblock / type.block; ++b) {
    const IQ1Fit& fit = work.fits[b];
    for (size_t k = 0; k < groups; ++k) {
      quants.index[b * groups + k] = static_cast<uint16_t>(grid.Find(fit.codes[k]));
      quants.lowered[b * groups + k] = has_scale && fit.Lowered(type.block, k);
    }
    if (has_scale) quants.scale[b] = work.scales[b];
  }
  if (has_scale) quants.d = F32ToF16(work.d * type.d_factor);
  type.layout->pack(quants, block);
}

void ErrorWeights(IQ1Superblock* work) {
  const float* x = work->x;
  const float* importance = work->importance;
  if (!importance) {
    for (size_t i = 0; i < kSuperblock; ++i) work->weights[i] = x[i] * x[i];
    return;
  }
  float sum = 0;
  for (size_t i = 0; i < kSuperblock; ++i) sum += x[i] * x[i];
  const float sigma2 = 2 * sum / static_cast<float>(kSuperblock);
  for (size_t i = 0; i < kSuperblock; ++i) {
    work->weights[i] = importance[i] * std::sqrt(sigma2 + x[i] * x[i]);
  }
}

void Fit(const IQ1Type& type, const Grid& grid, IQ1Superblock* work, size_t count) {
  for (IQ1Superblock* end = work + count; work != end; ++work) {
    ErrorWeights(work);
    for (size_t b = 0; b < kSuperblock / type.block; ++b) FitIQ1Block(type, grid, b, work);
  }
}

void RefitM(IQ1Superblock* work, size_t count) {
  for (IQ1Superblock* end = work + count; work != end; ++work) {
    Sums sums;
    for (size_t b = 0; b < kSuperblock / kIQ1MType.block; ++b) {
      const float factor = static_cast<float>(2 * work->scales[b] + 1);
      AddSums(BlockOf(kIQ1MType, *work, b), work->fits[b], factor, &sums);
    }
    if (sums.qq > 0) work->d = sums.xq / sums.qq;
  }
}

}  // namespace

constinit const IQ1Type kIQ1SType = {&kIQ1SLayout, 32, false, 1e-12f, 1.125f};
constinit const IQ1Type kIQ1MType = {&kIQ1MLayout, 16, true, 1e-7f, 1.1125f};
constinit const IQ1Search kIQ1SReference = {Fit, nullptr};
constinit const IQ1Search kIQ1MReference = {Fit, RefitM};

uint16_t BestNearIQ1(const Grid& grid, const float* x, const float* weights, const float* values,
                     float scale, uint32_t code) noexcept {
  const auto near = grid.Near(code);
  uint16_t best = near.front();
  float best_error = std::numeric_limits<float>::max();
  for (const uint16_t candidate : near) {
    float error = 0;
    for (size_t k = 0; k < 8; ++k) {
      const float diff = scale * values[candidate >> (2 * k) & 3] - x[k];
      error += weights[k] * diff * diff;
    }
    if (error < best_error) {
      best_error = error;
      best = candidate;
    }
  }
  return best;
}

void FitIQ1Block(const IQ1Type& type, const Grid& grid, size_t b, IQ1Superblock* work) noexcept {
  Block block = BlockOf(type, *work, b);
  work->fits[b] = {};
  if (!(LargestMagnitude(block) >= type.zero_block)) return;
  Sort(&block);
  const Split split = type.split_halves ? FindSplitM(block) : FindSplitS(block);
  if (split.lowered >= 0 && std::isfinite(split.scale)) work->fits[b] = ToGrid(grid, block, split);
}

void QuantizeIQ1(const IQ1Type& type, const IQ1Search& search, const float* weights,
                 uint8_t* blocks, size_t rows, size_t columns, const float* imatrix) noexcept {
  const Grid& grid = GridOf(type.layout->grid);
  const size_t total = rows * columns / kSuperblock;
  IQ1Superblock work[kIQ1AtOnce];
  for (size_t first = 0; first < total; first += kIQ1AtOnce) {
    const size_t count = std::min(kIQ1AtOnce, total - first);
    for (size_t s = 0; s < count; ++s) {
      const size_t at = (first + s) * kSuperblock;
      work[s].x = weights + at;
      work[s].importance = imatrix ? imatrix + at % columns : nullptr;
    }
    search.fit(type, grid, work, count);
    bool has_scale[kIQ1AtOnce];
    for (size_t s = 0; s < count; ++s) has_scale[s] = ChooseScales(type, &work[s]);
    if (search.refit) search.refit(work, count);
    for (size_t s = 0; s < count; ++s, blocks += type.layout->bytes) {
      Store(type, grid, work[s], has_scale[s], blocks);
    }
  }
}

}  // namespace quern::quant
