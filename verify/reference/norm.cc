#include "verify/reference/norm.h"

#include <cmath>

#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {

RowNorm::RowNorm(const Norm& norm, converters::NormKind kind, double epsilon, size_t groups,
                 const Weights& weights)
    : kind_(kind), epsilon_(epsilon), groups_(groups), weight_(weights.Vector(*norm.weight)) {
  if (norm.bias) bias_ = weights.Vector(*norm.bias);
}

void RowNorm::Apply(const float* x, size_t rows, size_t columns, float* out, int threads) const {
  const size_t size = columns / groups_;
  const size_t weight_step = weight_.size() == columns ? size : 0;
  constexpr size_t kGrain = 16;
  ParallelRanges(threads, rows, kGrain, [&](size_t begin, size_t end) {
    for (size_t run = begin * groups_; run < end * groups_; ++run) {
      const float* from = x + run * size;
      const double count = static_cast<double>(size);
      const double mean = kind_ == converters::NormKind::kLayer ? Sum(from, size) / count : 0;
      const float shift = static_cast<float>(mean);
      const double variance = SumOfSquares(from, size, shift) / count;
      const float factor = static_cast<float>(1 / std::sqrt(variance + epsilon_));
      const size_t at = run % groups_ * weight_step;
      Normalize(from, size, shift, factor, weight_.data() + at,
                bias_.empty() ? nullptr : bias_.data() + at, out + run * size);
    }
  });
}

}  // namespace quern::verify
