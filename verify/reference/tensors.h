// Which tensor of a model does what, with every shape checked before any work starts.
#ifndef QUERN_VERIFY_REFERENCE_TENSORS_H_
#define QUERN_VERIFY_REFERENCE_TENSORS_H_

#include <vector>

#include "converters/output_model.h"
#include "verify/reference/graph.h"
#include "verify/reference/weights.h"

namespace quern::verify {

struct Norm {
  const converters::OutputTensor* weight = nullptr;  // null: no norm here
  const converters::OutputTensor* bias = nullptr;

  explicit operator bool() const { return weight != nullptr; }
};

// gate is absent in a plain feed-forward: down(activation(up(x))).
struct FeedForward {
  Linear gate, up, down;
};

struct Layer {
  Norm attention_norm, q_norm, k_norm, post_attention_norm, ffn_norm, post_ffn_norm;
  Linear q, k, v, attention_output;
  FeedForward dense;  // dense.down is absent in a layer of experts
  Linear router;      // [experts, width]
  std::vector<FeedForward> experts;
  FeedForward shared;
  Linear shared_gate;  // [1, width]
  bool parallel = false;
};

struct Tensors {
  const converters::OutputTensor* token_embedding = nullptr;     // [vocabulary, width]
  const converters::OutputTensor* position_embedding = nullptr;  // [context, width] or null
  const converters::OutputTensor* rope_factors = nullptr;        // [rope.dimensions / 2] or null
  Norm embedding_norm, output_norm;
  Linear output;  // the token embedding where the model has no other
  std::vector<Layer> layers;
};

// Finds every tensor of `graph` in `model` and sets graph.vocabulary. Throws kMissing, kBadShape,
// and kUnsupported for tensors that this graph has no use for: without them the result would be
// another model's. `model` outlives the result.
Tensors ResolveTensors(const converters::OutputModel& model, Graph& graph);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_TENSORS_H_
