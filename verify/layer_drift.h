// Where drift comes from: how far candidates' hidden states are from a reference's after each
// layer.
//
// What is compared is the residual stream at the scored positions: r of the reference, c of the
// candidate. Both figures of a layer are means over these positions, each of which counts the same:
// ||c - r|| / ||r||, and the cosine of the angle between c and r. Drift of a layer includes that of
// all before it.
#ifndef QUERN_VERIFY_LAYER_DRIFT_H_
#define QUERN_VERIFY_LAYER_DRIFT_H_

#include <functional>
#include <span>
#include <vector>

#include "verify/reference/forward.h"
#include "verify/statistics.h"

namespace quern::verify {

struct LayerDrift {
  Moments relative_error, cosine;  // over the scored positions
};

// Runs several models in step: all pass layer l of a batch before one passes layer l + 1.
class LayerComparison {
 public:
  // models[0] is the reference; they outlive this object. Throws kMismatch where a candidate has
  // another number of layers or another width.
  explicit LayerComparison(std::vector<Forward*> models);

  // The states of each model, as Forward::States. Calls progress with the share that is done. Holds
  // PassBytes() of every model and the largest WorkspaceBytes().
  std::vector<Matrix> Run(const Batch& batch, const std::function<void(double)>& progress);

  // Of one candidate (0: models[1]), over all batches: after the embedding, then after each layer.
  const std::vector<LayerDrift>& drift(size_t candidate) const { return drift_[candidate]; }

 private:
  void Compare(std::span<const Forward::Pass> passes, uint64_t place);

  std::vector<Forward*> models_;
  std::vector<std::vector<LayerDrift>> drift_;  // [candidate][layers + 1]
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_LAYER_DRIFT_H_
