// One model's decoder, resolved: the architecture's switches with the model's own numbers.
//
// The meaning of every key and its default are llama.cpp's (src/llama-model.cpp,
// llama-context.cpp).
#ifndef QUERN_VERIFY_REFERENCE_GRAPH_H_
#define QUERN_VERIFY_REFERENCE_GRAPH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "converters/graph_rules.h"
#include "converters/output_model.h"

namespace quern::verify {

// Rotary positions: element pair i of a head turns by position * base^(-2i/dimensions), divided by
// the pair's factor (rope_freqs.weight) where there are factors, and scaled.
struct Rope {
  converters::RopeStyle style = converters::RopeStyle::kNone;
  uint64_t dimensions = 0;  // of a head, from its start; the rest stays
  double base = 10000;
  double scale = 1;        // of all angles: 1/factor of linear scaling and YaRN
  double extrapolate = 0;  // YaRN: how much of the fast pairs' angles stays unscaled
  double magnitude = 1;    // of the turned vectors, after YaRN's own 1 + 0.1 ln(1/scale)
  double beta_fast = 32, beta_slow = 1;
  double original_context = 0;
};

struct Graph {
  std::string architecture;
  converters::GraphRules rules;
  uint64_t layers = 0;
  uint64_t width = 0;  // of the hidden state
  uint64_t heads = 0, kv_heads = 0, head_size = 0;
  uint64_t vocabulary = 0;
  uint64_t experts = 0, experts_used = 0;
  double norm_epsilon = 0;
  Rope rope;
  double attention_scale = 1;  // of q * k
  double embedding_scale = 1, residual_scale = 1, logit_scale = 1;
  double attention_softcap = 0, logit_softcap = 0;  // c * tanh(x / c); 0: none
  bool parallel = false;                            // Residual, where a key or the rules decide
  uint64_t sliding_window = 0;                      // positions that a sliding layer sees; 0: none
  std::vector<bool> sliding;                        // per layer
};

// Throws kUnsupported for what is known and not computed here, kMissing and kBadValue for keys.
Graph ResolveGraph(const converters::OutputModel& model, const converters::GraphRules& rules);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_GRAPH_H_
