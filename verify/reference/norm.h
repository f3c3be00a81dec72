// Root-mean-square and layer norms of rows.
#ifndef QUERN_VERIFY_REFERENCE_NORM_H_
#define QUERN_VERIFY_REFERENCE_NORM_H_

#include <vector>

#include "converters/graph_rules.h"
#include "verify/reference/tensors.h"

namespace quern::verify {

class RowNorm {
 public:
  // `groups` runs of each row are normalized apart (heads of q and k); the weight has one value per
  // element of a run, or of the whole row.
  RowNorm(const Norm& norm, converters::NormKind kind, double epsilon, size_t groups,
          const Weights& weights);

  // Normalizes `rows` rows of groups * size elements; out may be x.
  void Apply(const float* x, size_t rows, size_t columns, float* out, int threads) const;

 private:
  converters::NormKind kind_;
  double epsilon_;
  size_t groups_;
  std::vector<float> weight_, bias_;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_NORM_H_
