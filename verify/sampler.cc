#include "verify/sampler.h"

#include <algorithm>
#include <cmath>

namespace quern::verify {

double Sampler::Uniform() {
  state_ += 0x9e3779b97f4a7c15;
  uint64_t z = state_;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

int32_t Sampler::Choose(std::span<const float> logits) {
  const auto top = std::max_element(logits.begin(), logits.end());
  if (!(temperature_ > 0)) return static_cast<int32_t>(top - logits.begin());
  const double largest = static_cast<double>(*top);
  weights_.resize(logits.size());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    weights_[i] = std::exp((static_cast<double>(logits[i]) - largest) / temperature_);
    sum += weights_[i];
  }
  const double end = Uniform() * sum;
  double reached = weights_[0];
  size_t chosen = 0;
  // The sum is that of all weights in the same order, so that it is not left before it is exceeded.
  while (reached <= end && chosen + 1 < weights_.size()) reached += weights_[++chosen];
  return static_cast<int32_t>(chosen);
}

}  // namespace quern::verify
