// The reference decoder: token ids to hidden states, layer by layer over a whole batch of windows.
//
// f32 arithmetic on weights decoded exactly. Each weight is read and decoded once per batch, a slab
// of rows at a time, so that memory is activations and one slab, whatever the model's size. Windows
// are independent of each other; a window starts at position 0. Non-goals: a key-value cache,
// sampling, training.
#ifndef QUERN_VERIFY_REFERENCE_FORWARD_H_
#define QUERN_VERIFY_REFERENCE_FORWARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "verify/reference/graph.h"
#include "verify/reference/matrix.h"
#include "verify/reference/model.h"
#include "verify/reference/rope.h"
#include "verify/reference/tensors.h"
#include "verify/reference/weights.h"

namespace quern::verify {

// Windows of equal length, and the positions of each whose results are wanted.
struct Batch {
  std::span<const int32_t> tokens;  // windows * context
  size_t context = 0;
  size_t first = 0, count = 0;  // positions [first, first + count) of each window

  size_t windows() const { return tokens.size() / context; }
  size_t wanted() const { return windows() * count; }
};

class Forward {
 public:
  // `model` outlives this object. Resolves everything; throws as ResolveGraph and ResolveTensors,
  // and kBadValue where the model has fewer learned positions than `context`.
  Forward(const ReferenceModel& model, size_t context, uint64_t slab_bytes, Products& products);

  // Shows `observer`, unless it is null, what enters each matrix during States(): at last what the
  // output matrix takes. It outlives its use here.
  void set_observer(InputObserver* observer) { weights_.set_observer(observer); }

  // Normalized hidden states of the wanted positions, [batch.wanted(), width]: what the output
  // matrix takes. Calls progress(layer) before each layer. Throws kBadValue for token ids outside
  // the vocabulary, kNonFinite, and what reading throws.
  Matrix States(const Batch& batch, const std::function<void(uint64_t layer)>& progress);

  // Logits of rows [first, first + count) of the vocabulary: out[states.rows(), count].
  void Logits(const Matrix& states, uint64_t first, uint64_t count, float* out);

  // Bytes of activations that States() needs per window with `wanted` of its positions wanted,
  // its result included.
  uint64_t BytesPerWindow(size_t wanted) const;
  // Bytes beside that and the slab, whatever the batch: tables and scores.
  uint64_t TableBytes() const;

  const Graph& graph() const { return graph_; }
  uint64_t LogitSlabRows() const { return weights_.SlabRows(tensors_.output); }

 private:
  struct Activations;

  void Embed(const Batch& batch, float* x);
  void RunLayer(const Layer& layer, bool sliding, const Batch& batch, bool last,
                Activations& activations);
  void RunAttention(const Layer& layer, bool sliding, const Batch& batch, bool last,
                    Activations& activations);
  void TurnHeads(float* rows, size_t heads, size_t windows, size_t first, size_t count,
                 bool sliding) const;
  void Normalize(const Norm& norm, const float* x, size_t rows, float* out) const;
  void AddToResidual(const Norm& post_norm, float* out, size_t rows, float* x) const;
  [[noreturn]] void FailOnOverflow(const char* what) const;
  void PrefetchLayer(const Layer& layer) const;

  std::string path_;
  size_t context_;
  Products& products_;
  Weights weights_;
  Graph graph_;
  Tensors tensors_;
  std::unique_ptr<RopeTable> rope_, rope_sliding_;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_FORWARD_H_
