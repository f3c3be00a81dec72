#include "verify/statistics.h"

#include <algorithm>
#include <cmath>

namespace quern::verify {

Estimate Moments::Mean() const {
  if (count_ == 0) return {};
  const double n = static_cast<double>(count_);
  const double mean = sum_ / n;
  const double variance = squares_ / n - mean * mean;
  return {mean, variance > 0 && count_ > 1 ? std::sqrt(variance / (n - 1)) : 0};
}

double CovarianceOfMeans(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2) return 0;
  const double n = static_cast<double>(a.size());
  double sum_a = 0, sum_b = 0, sum_ab = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum_a += a[i];
    sum_b += b[i];
    sum_ab += a[i] * b[i];
  }
  return (sum_ab / n - sum_a / n * (sum_b / n)) / (n - 1);
}

Estimate Exponential(const Estimate& mean) {
  const double value = std::exp(mean.value);
  return {value, value * mean.error};
}

double Percentile(std::span<const double> sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double part = place - static_cast<double>(below);
  return (1 - part) * sorted[below] + part * sorted[above];
}

}  // namespace quern::verify
