// The reference decoder: token ids to hidden states, layer by layer over a whole batch of windows.
//
// f32 arithmetic on weights decoded exactly. Each weight is read and decoded once per batch, a slab
// of rows at a time, so that memory is activations and one slab, whatever the model's size. Windows
// are independent of each other; a window starts at position 0, or after the positions of a
// key-value cache. Non-goals: sampling, training.
#ifndef QUERN_VERIFY_REFERENCE_FORWARD_H_
#define QUERN_VERIFY_REFERENCE_FORWARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "verify/reference/graph.h"
#include "verify/reference/key_value_cache.h"
#include "verify/reference/matrix.h"
#include "verify/reference/model.h"
#include "verify/reference/rope.h"
#include "verify/reference/tensors.h"
#include "verify/reference/weights.h"

namespace quern::verify {

// Windows of equal length, and the tokens of each whose results are wanted.
struct Batch {
  std::span<const int32_t> tokens;  // windows * context
  size_t context = 0;
  size_t first = 0, count = 0;  // tokens [first, first + count) of each window
  // The one window goes on after the positions that are in the cache, and is added to it.
  KeyValueCache* cache = nullptr;

  size_t windows() const { return tokens.size() / context; }
  size_t wanted() const { return windows() * count; }
  // Of each window's first token.
  size_t position() const { return cache ? cache->length() : 0; }
};

class Forward {
 public:
  // A batch between two layers. The batch's tokens outlive it.
  struct Pass {
    Batch batch;
    Matrix x;            // residual stream, [rows, width]
    size_t rows = 0;     // every position; from the last layer on only the wanted ones
    uint64_t layer = 0;  // that comes next

    // Of wanted position i < batch.wanted().
    const float* Wanted(size_t i) const;
  };
  // What a layer needs beside x, for any pass of any model, one after the other.
  struct Workspace {
    Scratch h, out;  // what a part of the layer takes and gives
    Scratch inner;   // q, k and v, then the feed-forward's inner states
  };

  // `model` outlives this object. Resolves everything; throws as ResolveGraph and ResolveTensors,
  // and kBadValue where the model has fewer learned positions than `context`. No position is at or
  // above `context`.
  Forward(const ReferenceModel& model, size_t context, uint64_t slab_bytes, Products& products);

  // Shows `observer`, unless it is null, what enters each matrix during States(): at last what the
  // output matrix takes. It outlives its use here.
  void set_observer(InputObserver* observer) { weights_.set_observer(observer); }

  // Normalized hidden states of the wanted positions, [batch.wanted(), width]: what the output
  // matrix takes. Calls progress(layer) before each layer. Throws kBadValue for token ids outside
  // the vocabulary, kNonFinite, and what reading throws.
  Matrix States(const Batch& batch, const std::function<void(uint64_t layer)>& progress);

  // The same in steps: Begin, RunLayer for each layer, Finish.
  Pass Begin(const Batch& batch);
  void RunLayer(Pass& pass, Workspace& workspace);
  Matrix Finish(const Pass& pass);

  // Logits of rows [first, first + count) of the vocabulary: out[states.rows(), count].
  void Logits(const Matrix& states, uint64_t first, uint64_t count, float* out);

  // Weights::Keep.
  void KeepWeights(uint64_t bytes) { weights_.Keep(bytes); }

  // Bytes of activations that States() needs per window with `wanted` of its positions wanted,
  // its result included.
  uint64_t BytesPerWindow(size_t wanted) const;
  // Bytes of a pass, and of its workspace, for so many tokens.
  uint64_t PassBytes(size_t tokens) const { return tokens * graph_.width * sizeof(float); }
  uint64_t WorkspaceBytes(size_t tokens) const;
  // Bytes beside that and the slab, whatever the batch: tables and scores.
  uint64_t TableBytes() const;

  const Graph& graph() const { return graph_; }
  const std::string& path() const { return path_; }
  uint64_t LogitSlabRows() const { return weights_.SlabRows(tensors_.output); }

 private:
  void Embed(const Batch& batch, float* x);
  // With the first batch, when it is known that they fit into the memory.
  void MakeRopeTables();
  void RunAttention(const Layer& layer, Pass& pass, Workspace& workspace);
  void TurnHeads(float* rows, size_t heads, size_t windows, size_t first, size_t count,
                 bool sliding) const;
  void Normalize(const Norm& norm, const float* x, size_t rows, float* out) const;
  void AddToResidual(const Norm& post_norm, float* out, size_t rows, float* x) const;
  [[noreturn]] void FailOnOverflow(const char* what) const;
  void PrefetchLayer(const Layer& layer) const;
  size_t InnerFloats() const;

  std::string path_;
  size_t context_;
  Products& products_;
  Weights weights_;
  Graph graph_;
  Tensors tensors_;
  std::vector<float> rope_factors_;
  std::unique_ptr<RopeTable> rope_, rope_sliding_;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_FORWARD_H_
