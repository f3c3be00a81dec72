// Means with their standard errors, percentiles: the statistics that llama-perplexity prints.
#ifndef QUERN_VERIFY_STATISTICS_H_
#define QUERN_VERIFY_STATISTICS_H_

#include <cstddef>
#include <span>
#include <vector>

namespace quern::verify {

struct Estimate {
  double value = 0;
  double error = 0;  // one standard error
};

// Sums of a quantity, for its mean and the mean's standard error.
class Moments {
 public:
  void Add(double x) {
    sum_ += x;
    squares_ += x * x;
    ++count_;
  }
  size_t count() const { return count_; }
  double sum() const { return sum_; }
  // The error is that of independent samples, 0 for fewer than two.
  Estimate Mean() const;

 private:
  double sum_ = 0, squares_ = 0;
  size_t count_ = 0;
};

// Covariance of the means of two paired quantities.
double CovarianceOfMeans(std::span<const double> a, std::span<const double> b);

// exp(mean) with the error that follows from the mean's.
Estimate Exponential(const Estimate& mean);

// The value below which `fraction` of `sorted` (ascending, not empty) lies, linear between values.
double Percentile(std::span<const double> sorted, double fraction);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_STATISTICS_H_
