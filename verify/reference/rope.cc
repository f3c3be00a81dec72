#include "verify/reference/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace quern::verify {
namespace {

// The pair (as a real number) that turns `turns` times within the original context.
double PairOfTurns(const Rope& rope, double turns) {
  return static_cast<double>(rope.dimensions) *
         std::log(rope.original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.base));
}

// How much of pair i's angle YaRN leaves unscaled: all below the fast pairs' end, none above the
// slow ones', a ramp between (Peng et al. 2023, eq. 18-19; bounds rounded outwards as llama.cpp
// does).
double Unscaled(const Rope& rope, size_t pair) {
  const double last = static_cast<double>(rope.dimensions) - 1;
  const double low = std::max(0.0, std::floor(PairOfTurns(rope, rope.beta_fast)));
  const double high = std::min(last, std::ceil(PairOfTurns(rope, rope.beta_slow)));
  const double ramp = (static_cast<double>(pair) - low) / std::max(0.001, high - low);
  return rope.extrapolate * (1 - std::clamp(ramp, 0.0, 1.0));
}

}  // namespace

RopeTable::RopeTable(const Rope& rope, std::span<const float> factors, size_t context)
    : style_(rope.style), pairs_(rope.dimensions / 2) {
  const double magnitude = rope.extrapolate != 0
                               ? rope.magnitude * (1 + 0.1 * std::log(1 / rope.scale))
                               : rope.magnitude;
  cos_.resize(context * pairs_);
  sin_.resize(context * pairs_);
  for (size_t i = 0; i < pairs_; ++i) {
    double step =
        std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dimensions));
    if (!factors.empty()) step /= static_cast<double>(factors[i]);
    const double kept = rope.extrapolate != 0 ? Unscaled(rope, i) : 0;
    step = step * rope.scale * (1 - kept) + step * kept;
    for (size_t position = 0; position < context; ++position) {
      const double angle = static_cast<double>(position) * step;
      cos_[position * pairs_ + i] = static_cast<float>(std::cos(angle) * magnitude);
      sin_[position * pairs_ + i] = static_cast<float>(std::sin(angle) * magnitude);
    }
  }
}

void RopeTable::Turn(float* row, size_t heads, size_t head_size, size_t position) const {
  const float* cosines = cos_.data() + position * pairs_;
  const float* sines = sin_.data() + position * pairs_;
  // Distance between the two of a pair, and between pairs.
  const bool interleaved = style_ == converters::RopeStyle::kInterleaved;
  const size_t partner = interleaved ? 1 : pairs_;
  const size_t next = interleaved ? 2 : 1;
  for (size_t head = 0; head < heads; ++head) {
    float* first = row + head * head_size;
    for (size_t i = 0; i < pairs_; ++i) {
      float& a = first[i * next];
      float& b = first[i * next + partner];
      const float turned = a * cosines[i] - b * sines[i];
      b = a * sines[i] + b * cosines[i];
      a = turned;
    }
  }
}

Rope Unscaled(Rope rope) {
  rope.scale = 1;
  rope.extrapolate = 0;
  rope.magnitude = 1;
  return rope;
}

}  // namespace quern::verify
