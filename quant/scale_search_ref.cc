#include "quant/scale_search_ref.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace quern::quant {
namespace {

constexpr size_t kMaxBlock = 32;
constexpr int kDescentRounds = 5;

int ClampedInt(float value, int low, int high) { return std::clamp(NearestInt(value), low, high); }

float Difference(ErrorNorm norm, float diff) {
  return norm == ErrorNorm::kAbsolute ? std::fabs(diff) : diff * diff;
}

// sum w |scale*q + min - x|^p in the order of the block.
float WeightedError(ErrorNorm norm, size_t n, const float* x, const float* weights,
                    const uint8_t* q, float scale, float min) {
  float error = 0;
  for (size_t i = 0; i < n; ++i) {
    const float diff = Difference(norm, scale * static_cast<float>(q[i]) + min - x[i]);
    error += weights[i] * diff;
  }
  return error;
}

// The value of largest magnitude, the first of equals; 0 if there is none (NaNs do not count).
float Extreme(size_t n, const float* x) {
  float extreme = 0;
  float magnitude = 0;
  for (size_t i = 0; i < n; ++i) {
    const float a = std::fabs(x[i]);
    if (a > magnitude) {
      magnitude = a;
      extreme = x[i];
    }
  }
  return extreme;
}

// sum w x l and sum w l^2, from which the best scale for given quants is lx/l2.
struct Moments {
  float lx = 0;
  float l2 = 0;
  void Add(float w, float x, int l) {
    const float level = static_cast<float>(l);
    lx += w * x * level;
    l2 += w * level * level;
  }
  void Remove(float w, float x, int l) {
    const float level = static_cast<float>(l);
    lx -= w * x * level;
    l2 -= w * level * level;
  }
};

Moments MomentsAt(float inverse_scale, int half, size_t n, const float* x, const float* weights) {
  Moments sums;
  for (size_t i = 0; i < n; ++i) {
    sums.Add(weights[i], x[i], ClampedInt(inverse_scale * x[i], -half, half - 1));
  }
  return sums;
}

// Least squares for scale and min given quants at `inverse_scale`; absent if they do not determine
// both.
bool SolveScaleMin(float inverse_scale, int levels, size_t n, const float* x, const float* weights,
                   float origin, float sum_w, float sum_x, uint8_t* q, ScaleMin* fit) {
  float sum_l = 0, sum_l2 = 0, sum_xl = 0;
  for (size_t i = 0; i < n; ++i) {
    const int l = ClampedInt(inverse_scale * (x[i] - origin), 0, levels);
    q[i] = static_cast<uint8_t>(l);
    const float level = static_cast<float>(l);
    const float w = weights[i];
    sum_l += w * level;
    sum_l2 += w * level * level;
    sum_xl += w * level * x[i];
  }
  const float determinant = sum_w * sum_l2 - sum_l * sum_l;
  if (!(determinant > 0)) return false;
  fit->scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
  fit->min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
  if (fit->min > 0) {
    fit->min = 0;
    fit->scale = sum_xl / sum_l2;
  }
  return true;
}

}  // namespace

int NearestInt(float value) {
  if (value != value) return 0;
  const float shifted = value + 12582912.f;
  return static_cast<int>(std::bit_cast<uint32_t>(shifted) & 0x007FFFFFu) - 0x00400000;
}

ScaleMin FitScaleMin(const ScaleMinSearch& search, size_t n, const float* x, const float* weights,
                     uint8_t* q) {
  const int levels = search.levels;
  float min = x[0];
  float max = x[0];
  float sum_w = weights[0];
  float sum_x = sum_w * x[0];
  for (size_t i = 1; i < n; ++i) {
    if (x[i] < min) min = x[i];
    if (x[i] > max) max = x[i];
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  if (min > 0) min = 0;
  if (max == min) {
    std::fill_n(q, n, uint8_t{0});
    return {0.f, -min};
  }
  const float inverse_scale = static_cast<float>(levels) / (max - min);
  ScaleMin best{1 / inverse_scale, min};
  for (size_t i = 0; i < n; ++i) {
    q[i] = static_cast<uint8_t>(ClampedInt(inverse_scale * (x[i] - min), 0, levels));
  }
  float best_error = WeightedError(search.norm, n, x, weights, q, best.scale, best.min);
  for (int k = 0; k <= search.grid.steps; ++k) {
    const float shift =
        search.grid.rmin + search.grid.rdelta * static_cast<float>(k) + static_cast<float>(levels);
    uint8_t candidate[kMaxBlock];
    ScaleMin fit;
    // The grid starts from the best min so far, so that candidates depend on their predecessors.
    if (!SolveScaleMin(shift / (max - best.min), levels, n, x, weights, best.min, sum_w, sum_x,
                       candidate, &fit)) {
      continue;
    }
    const float error = WeightedError(search.norm, n, x, weights, candidate, fit.scale, fit.min);
    if (error < best_error) {
      std::copy_n(candidate, n, q);
      best_error = error;
      best = fit;
    }
  }
  return {best.scale, -best.min};
}

float FitScale(int half, size_t n, const float* x, const float* weights, uint8_t* q) {
  const float extreme = Extreme(n, x);
  if (std::fabs(extreme) < kZeroBlock) {
    std::fill_n(q, n, uint8_t{0});
    return 0.f;
  }
  float best_inverse = static_cast<float>(-half) / extreme;
  Moments sums = MomentsAt(best_inverse, half, n, x, weights);
  float scale = sums.l2 != 0 ? sums.lx / sums.l2 : 0.0f;
  float best = scale * sums.lx;
  for (int k = -9; k <= 9; ++k) {
    if (k == 0) continue;
    const float inverse = -(static_cast<float>(half) + 0.1f * static_cast<float>(k)) / extreme;
    sums = MomentsAt(inverse, half, n, x, weights);
    if (sums.l2 > 0 && sums.lx * sums.lx > best * sums.l2) {
      best_inverse = inverse;
      scale = sums.lx / sums.l2;
      best = scale * sums.lx;
    }
  }
  for (size_t i = 0; i < n; ++i) {
    q[i] = static_cast<uint8_t>(half + ClampedInt(best_inverse * x[i], -half, half - 1));
  }
  return scale;
}

float FitScaleByDescent(int half, size_t n, const float* x, uint8_t* q) {
  const float extreme = Extreme(n, x);
  if (std::fabs(extreme) < kZeroBlock) {
    std::fill_n(q, n, uint8_t{0});
    return 0.f;
  }
  const float inverse = static_cast<float>(-half) / extreme;
  int levels[kMaxBlock];
  Moments sums;
  for (size_t i = 0; i < n; ++i) {
    levels[i] = ClampedInt(inverse * x[i], -half, half - 1);
    sums.Add(x[i] * x[i], x[i], levels[i]);
  }
  for (int round = 0; round < kDescentRounds; ++round) {
    bool changed = false;
    for (size_t i = 0; i < n; ++i) {
      const float w = x[i] * x[i];
      Moments rest = sums;
      rest.Remove(w, x[i], levels[i]);
      if (!(rest.lx > 0)) continue;
      const int level = ClampedInt(x[i] * rest.l2 / rest.lx, -half, half - 1);
      if (level == levels[i]) continue;
      rest.Add(w, x[i], level);
      if (rest.l2 > 0 && rest.lx * rest.lx * sums.l2 > sums.lx * sums.lx * rest.l2) {
        levels[i] = level;
        sums = rest;
        changed = true;
      }
    }
    if (!changed) break;
  }
  for (size_t i = 0; i < n; ++i) q[i] = static_cast<uint8_t>(levels[i] + half);
  return sums.l2 > 0 ? sums.lx / sums.l2 : 0.0f;
}

float FitPositiveScale(int levels, size_t n, const float* x, const float* weights, uint8_t* q) {
  float max = 0;
  for (size_t i = 0; i < n; ++i) max = max > x[i] ? max : x[i];
  if (max < kZeroBlock) {
    std::fill_n(q, n, uint8_t{0});
    return 0.f;
  }
  float best_inverse = static_cast<float>(levels) / max;
  float best_error = 0;
  for (size_t i = 0; i < n; ++i) {
    // Stored as a byte first: a negative x wraps around, here and below.
    const uint8_t l = static_cast<uint8_t>(NearestInt(best_inverse * x[i]));
    const float diff = x[i] - (1 / best_inverse) * static_cast<float>(l);
    best_error += weights[i] * diff * diff;
  }
  for (int k = -4; k <= 4; ++k) {
    if (k == 0) continue;
    const float inverse = (0.1f * static_cast<float>(k) + static_cast<float>(levels)) / max;
    const float scale = 1 / inverse;
    float error = 0;
    for (size_t i = 0; i < n; ++i) {
      const int l = std::min(levels, NearestInt(inverse * x[i]));
      const float diff = x[i] - scale * static_cast<float>(l);
      error += weights[i] * diff * diff;
    }
    if (error < best_error) {
      best_error = error;
      best_inverse = inverse;
    }
  }
  Moments sums;
  for (size_t i = 0; i < n; ++i) {
    const int l = std::min(levels, NearestInt(best_inverse * x[i]));
    q[i] = static_cast<uint8_t>(l);
    sums.Add(weights[i], x[i], l);
  }
  for (int round = 0; round < kDescentRounds; ++round) {
    bool changed = false;
    for (size_t i = 0; i < n; ++i) {
      Moments rest = sums;
      rest.Remove(weights[i], x[i], q[i]);
      if (!(rest.lx > 0 && rest.l2 > 0)) continue;
      const int level = std::min(levels, NearestInt(x[i] * rest.l2 / rest.lx));
      if (level == q[i]) continue;
      rest.Add(weights[i], x[i], level);
      if (rest.lx * rest.lx * sums.l2 > sums.lx * sums.lx * rest.l2) {
        q[i] = static_cast<uint8_t>(level);
        sums = rest;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return sums.l2 > 0 ? sums.lx / sums.l2 : 0.0f;
}

}  // namespace quern::quant
