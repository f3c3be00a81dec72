#include "verify/layer_drift.h"

#include <fmt/format.h>

#include <cmath>

#include "formats/core/error.h"

namespace quern::verify {
namespace {

void AddPosition(const float* reference, const float* candidate, size_t width, LayerDrift& drift) {
  double rr = 0, cc = 0, rc = 0, difference = 0;
  for (size_t i = 0; i < width; ++i) {
    const double r = reference[i], c = candidate[i];
    rr += r * r;
    cc += c * c;
    rc += r * c;
    difference += (c - r) * (c - r);
  }
  // Nothing is as far from nothing as the whole of it, or not at all.
  const bool same = difference == 0;
  drift.relative_error.Add(rr > 0 ? std::sqrt(difference / rr) : same ? 0 : 1);
  drift.cosine.Add(rr > 0 && cc > 0 ? rc / std::sqrt(rr * cc) : same ? 1 : 0);
}

}  // namespace

LayerComparison::LayerComparison(std::vector<Forward*> models) : models_(std::move(models)) {
  const Graph& reference = models_.front()->graph();
  for (const Forward* model : models_) {
    const Graph& graph = model->graph();
    if (graph.layers == reference.layers && graph.width == reference.width) continue;
    throw Error(ErrorCode::kMismatch, {model->path(), {}, "--by-layer"},
                fmt::format("the model has {} layers of width {}, the reference {} of {}; leave "
                            "--by-layer out",
                            graph.layers, graph.width, reference.layers, reference.width));
  }
  drift_.assign(models_.size() - 1, std::vector<LayerDrift>(reference.layers + 1));
}

void LayerComparison::Compare(std::span<const Forward::Pass> passes, uint64_t place) {
  const Forward::Pass& reference = passes.front();
  const size_t width = reference.x.columns();
  for (size_t c = 0; c < drift_.size(); ++c) {
    for (size_t i = 0; i < reference.batch.wanted(); ++i) {
      AddPosition(reference.Wanted(i), passes[c + 1].Wanted(i), width, drift_[c][place]);
    }
  }
}

std::vector<Matrix> LayerComparison::Run(const Batch& batch,
                                         const std::function<void(double)>& progress) {
  std::vector<Forward::Pass> passes;
  for (Forward* model : models_) passes.push_back(model->Begin(batch));
  Compare(passes, 0);
  const uint64_t layers = models_.front()->graph().layers;
  const size_t models = models_.size();
  {
    Forward::Workspace workspace;
    for (uint64_t layer = 0; layer < layers; ++layer) {
      for (size_t m = 0; m < models; ++m) {
        progress(static_cast<double>(layer * models + m) / static_cast<double>(layers * models));
        models_[m]->RunLayer(passes[m], workspace);
      }
      Compare(passes, layer + 1);
    }
  }
  std::vector<Matrix> states;
  for (size_t m = 0; m < models; ++m) {
    states.push_back(models_[m]->Finish(passes[m]));
    passes[m].x = {};
  }
  return states;
}

}  // namespace quern::verify
