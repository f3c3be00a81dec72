#include "quant/iquant_ref.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "quant/blocks.h"
#include "quant/scale_search_ref.h"

namespace quern::quant {

constinit const GridSearch kIQ2XXSSearch = {.type = &kIQ2XXSLayout,
                                            .block = 32,
                                            .sigma_factor = 1,
                                            .plain = PlainWeight::kRefused,
                                            .even_signs = true,
                                            .zero_block = 1e-15f,
                                            .steps = 6,
                                            .step = 0.1f,
                                            .fit_first = true,
                                            .refit_all = true,
                                            .closes_gaps = false,
                                            .zeros_if_no_scale = true,
                                            .d_factor = 1};
constinit const GridSearch kIQ2XSSearch = {.type = &kIQ2XSLayout,
                                           .block = 16,
                                           .sigma_factor = 1,
                                           .plain = PlainWeight::kRefused,
                                           .even_signs = true,
                                           .zero_block = 1e-15f,
                                           .steps = 9,
                                           .step = 0.1f,
                                           .fit_first = false,
                                           .refit_all = false,
                                           .closes_gaps = false,
                                           .zeros_if_no_scale = true,
                                           .d_factor = 1};
constinit const GridSearch kIQ2SSearch = {.type = &kIQ2SLayout,
                                          .block = 16,
                                          .sigma_factor = 2,
                                          .plain = PlainWeight::kSquareAndSigma2,
                                          .even_signs = false,
                                          .zero_block = 1e-8f,
                                          .steps = 9,
                                          .step = 0.1f,
                                          .fit_first = false,
                                          .refit_all = false,
                                          .closes_gaps = false,
                                          .zeros_if_no_scale = false,
                                          .d_factor = 0.9875f};
constinit const GridSearch kIQ3XXSSearch = {.type = &kIQ3XXSLayout,
                                            .block = 32,
                                            .sigma_factor = 2,
                                            .plain = PlainWeight::kSquare,
                                            .even_signs = true,
                                            .zero_block = 1e-8f,
                                            .steps = 15,
                                            .step = 0.2f,
                                            .fit_first = false,
                                            .refit_all = false,
                                            .closes_gaps = false,
                                            .zeros_if_no_scale = true,
                                            .d_factor = 1.0125f};
constinit const GridSearch kIQ3SSearch = {.type = &kIQ3SLayout,
                                          .block = 32,
                                          .sigma_factor = 2,
                                          .plain = PlainWeight::kSquare,
                                          .even_signs = false,
                                          .zero_block = std::numeric_limits<float>::denorm_min(),
                                          .steps = 9,
                                          .step = 0.2f,
                                          .fit_first = false,
                                          .refit_all = true,
                                          .closes_gaps = true,
                                          .zeros_if_no_scale = false,
                                          .d_factor = 1.033f};

namespace {

// Rounds a group to levels, all of which may be off the grid.
uint32_t Round(const GridBlock& block, size_t group, float inverse) {
  uint32_t code = 0;
  for (size_t k = 0; k < block.group; ++k) {
    const int level = NearestInt(0.5f * (inverse * block.x[group * block.group + k] - 1));
    code |= static_cast<uint32_t>(std::clamp(level, 0, block.top_level()))
            << (block.bits() * static_cast<int>(k));
  }
  return code;
}

struct Sums {
  float xq = 0;
  float qq = 0;
};

Sums Evaluate(const GridBlock& block, const uint16_t* codes) {
  Sums sums;
  for (size_t i = 0; i < block.n; ++i) {
    const int level = block.Level(codes[i / block.group], i % block.group);
    const float q = static_cast<float>(2 * level + 1);
    sums.xq += block.weights[i] * block.x[i] * q;
    sums.qq += block.weights[i] * q * q;
  }
  return sums;
}

// Takes the signs off. If only an even number can be stored, the weight that matters least keeps
// its sign, and is negative in x from now on.
void TakeSigns(const float* from, GridBlock* block) {
  for (size_t j = 0; j < block->n; j += 8) {
    uint32_t bits = 0;
    for (size_t k = j; k < j + 8; ++k) {
      const bool negative = !(from[k] >= 0);
      block->x[k] = negative ? -from[k] : from[k];
      bits |= static_cast<uint32_t>(negative) << (k - j);
    }
    if (block->search->even_signs && std::popcount(bits) % 2 != 0) {
      size_t least = j;
      for (size_t k = j + 1; k < j + 8; ++k) {
        if (block->weights[k] * from[k] * from[k] <
            block->weights[least] * from[least] * from[least])
          least = k;
      }
      block->x[least] = -block->x[least];
      bits ^= 1u << (least - j);
    }
    block->signs[j / 8] = static_cast<uint8_t>(bits);
  }
}

void ErrorWeights(const float* x, float sigma2, const float* importance, GridBlock* block) {
  for (size_t i = 0; i < block->n; ++i) {
    const float square = x[i] * x[i];
    if (importance != nullptr) {
      block->weights[i] = importance[i] * std::sqrt(sigma2 + square);
    } else if (block->search->plain == PlainWeight::kSquareAndSigma2) {
      block->weights[i] = 0.25f * sigma2 + square;
    } else {
      block->weights[i] = square;
    }
    block->roots[i] = std::sqrt(block->weights[i]);
  }
}

// Sets what the scales are tried around.
void SetStart(GridBlock* block) {
  block->largest = 0;
  float largest = block->x[0];
  for (size_t i = 1; i < block->n; ++i) largest = largest > block->x[i] ? largest : block->x[i];
  if (!(largest >= block->search->zero_block)) return;
  block->largest = largest;
  block->first_scale = largest / block->span();
}

// A block, whose scale is returned. It is stored at weight `first`, and what is stored in sequence
// (signs, low bytes of indices) at weight `*next`, which is advanced.
float StoreBlock(const GridBlock& block, const GridFit& fit, size_t first, size_t* next,
                 GridQuants* quants) {
  if (block.largest == 0) return 0;
  const size_t sequence = block.search->closes_gaps ? *next : first;
  const uint8_t flip = fit.scale < 0 ? 255 : 0;
  for (size_t j = 0; j < block.n / 8; ++j) {
    quants->signs[sequence / 8 + j] = static_cast<uint8_t>(block.signs[j] ^ flip);
  }
  for (size_t g = 0; g < block.groups(); ++g) {
    const uint32_t index = static_cast<uint32_t>(block.grid->Find(fit.codes[g]));
    quants->index[sequence / block.group + g] |= index & 255;
    quants->index[first / block.group + g] |= index & 0xFF00;
  }
  *next = sequence + block.n;
  return std::fabs(fit.scale);
}

void QuantizeScales(const GridSearch& search, const float* scales, size_t count,
                    GridQuants* quants) {
  float largest = 0;
  for (size_t b = 0; b < count; ++b) largest = largest > scales[b] ? largest : scales[b];
  if (largest == 0) {
    if (search.zeros_if_no_scale) *quants = {};
    return;
  }
  const float d = largest / 31;
  quants->d = F32ToF16(d * search.d_factor);
  const float inverse = 1 / d;
  for (size_t b = 0; b < count; ++b) {
    const int scale = NearestInt(0.5f * (inverse * scales[b] - 1));
    quants->scale[b] = static_cast<uint8_t>(std::clamp(scale, 0, 15));
  }
}

// Of several superblocks: a sum has to go in order, but their chains of additions hide each other.
constexpr size_t kSumsAtOnce = 8;
void SumSquares(const float* x, size_t superblocks, float* sums) {
  std::fill_n(sums, kSumsAtOnce, 0.f);
  if (superblocks >= kSumsAtOnce) {
    for (size_t i = 0; i < kSuperblock; ++i) {
      for (size_t j = 0; j < kSumsAtOnce; ++j) {
        sums[j] += x[j * kSuperblock + i] * x[j * kSuperblock + i];
      }
    }
    return;
  }
  for (size_t j = 0; j < superblocks; ++j) {
    for (size_t i = 0; i < kSuperblock; ++i) {
      sums[j] += x[j * kSuperblock + i] * x[j * kSuperblock + i];
    }
  }
}

}  // namespace

uint16_t BestNear(const GridBlock& block, size_t group, float scale, uint32_t code) noexcept {
  const float* x = block.x + group * block.group;
  const float* roots = block.roots + group * block.group;
  const auto near = block.grid->Near(code);
  uint16_t best = near.front();
  float best_error = std::numeric_limits<float>::max();
  for (const uint16_t candidate : near) {
    float error = 0;
    for (size_t k = 0; k < block.group; ++k) {
      const float diff = scale * static_cast<float>(2 * block.Level(candidate, k) + 1) - x[k];
      error += roots[k] * diff * diff;
    }
    if (error < best_error) {
      best_error = error;
      best = candidate;
    }
  }
  return best;
}

void SearchScales(const GridBlock& block, GridFit* fit) noexcept {
  fit->scale = block.first_scale;
  std::fill_n(fit->codes, kMaxGroups, uint16_t{0});
  float best = 0;
  std::fill_n(fit->on_grid, kMaxGroups, !block.search->refit_all);
  for (int step = -block.search->steps; step <= block.search->steps; ++step) {
    const float inverse = block.InverseScale(step);
    GridFit tried{1 / inverse, {}, {}};
    for (size_t g = 0; g < block.groups(); ++g) {
      const uint32_t code = Round(block, g, inverse);
      tried.on_grid[g] = block.grid->Find(code) >= 0;
      tried.codes[g] =
          tried.on_grid[g] ? static_cast<uint16_t>(code) : BestNear(block, g, tried.scale, code);
    }
    const Sums sums = Evaluate(block, tried.codes);
    if (sums.qq > 0 && sums.xq * sums.xq > best * sums.qq) {
      *fit = tried;
      fit->scale = sums.xq / sums.qq;
      best = fit->scale * sums.xq;
    }
  }
}

void Refit(const GridBlock& block, GridFit* fit) noexcept {
  const bool any_off =
      !std::all_of(fit->on_grid, fit->on_grid + block.groups(), [](bool b) { return b; });
  if (!(fit->scale > 0) || !(any_off || block.search->fit_first)) return;
  const float inverse = 1 / fit->scale;
  for (size_t g = 0; g < block.groups(); ++g) {
    if (fit->on_grid[g] && !block.search->refit_all) continue;
    const uint32_t code = Round(block, g, inverse);
    fit->codes[g] = block.grid->Find(code) >= 0 ? static_cast<uint16_t>(code)
                                                : BestNear(block, g, fit->scale, code);
  }
  const Sums sums = Evaluate(block, fit->codes);
  if (sums.qq > 0) fit->scale = sums.xq / sums.qq;
}

void PrepareBlock(const float* x, float sigma2, const float* importance,
                  GridBlock* block) noexcept {
  ErrorWeights(x, sigma2, importance, block);
  TakeSigns(x, block);
  SetStart(block);
}

void SetFirstFit(float scale, GridBlock* block) noexcept {
  const float effective = scale * static_cast<float>(block->top_level() + 1);
  block->first_scale = scale;
  block->largest = effective > 0 ? effective : 0;
}

void FitFirst(GridBlock* block) noexcept {
  uint8_t levels[kMaxGridBlock];
  const int count = block->top_level() + 2;
  SetFirstFit(FitPositiveScale(count, block->n, block->x, block->weights, levels), block);
}

void FitBlocksReference(const GridInput& input, GridBlock* blocks, size_t count,
                        GridFit* fits) noexcept {
  for (size_t b = 0; b < count; ++b) {
    const size_t j = b * blocks[b].n;
    PrepareBlock(input.x + j, input.sigma2, input.importance ? input.importance + j : nullptr,
                 &blocks[b]);
    if (blocks[b].search->fit_first && blocks[b].largest != 0) FitFirst(&blocks[b]);
    if (blocks[b].largest == 0) continue;
    SearchScales(blocks[b], &fits[b]);
    Refit(blocks[b], &fits[b]);
  }
}

void QuantizeGrid(const GridSearch& search, FitBlocksFn fit, const float* weights, uint8_t* blocks,
                  size_t rows, size_t columns, const float* imatrix) noexcept {
  const Grid& grid = GridOf(search.type->grid);
  const size_t count = kSuperblock / search.block;
  GridBlock work[16];
  GridFit fits[16];
  for (GridBlock& block : work) {
    block.search = &search;
    block.grid = &grid;
    block.n = search.block;
    block.group = static_cast<size_t>(grid.data().dimension);
  }
  float sums[kSumsAtOnce];
  for (size_t i = 0; i < rows * columns; i += kSuperblock, blocks += search.type->bytes) {
    const size_t at = i / kSuperblock % kSumsAtOnce;
    if (at == 0) SumSquares(weights + i, (rows * columns - i) / kSuperblock, sums);
    const GridInput input{weights + i, imatrix ? imatrix + i % columns : nullptr,
                          search.sigma_factor * sums[at] / static_cast<float>(kSuperblock)};
    fit(input, work, count, fits);
    GridQuants quants{};
    float scales[16];
    size_t next = 0;
    for (size_t b = 0; b < count; ++b) {
      scales[b] = StoreBlock(work[b], fits[b], b * search.block, &next, &quants);
    }
    QuantizeScales(search, scales, count, &quants);
    search.type->pack(quants, blocks);
  }
}

}  // namespace quern::quant
