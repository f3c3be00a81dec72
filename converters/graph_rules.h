// The "graph" of an architecture file: what a decoder computes, as switches.
//
// Names and defaults are those of the file (docs/architectures.md). Numbers that differ between
// models of one architecture (widths, epsilons, rotary bases) are no rules: they are metadata keys
// of each model. verify/reference/ runs what is described here.
#ifndef QUERN_CONVERTERS_GRAPH_RULES_H_
#define QUERN_CONVERTERS_GRAPH_RULES_H_

#include <cstdint>

namespace quern::converters {

enum class NormKind : uint8_t { kRms, kLayer };
enum class NormPlace : uint8_t { kBefore, kAfter };  // of attention and of feed-forward
enum class Presence : uint8_t { kNone, kOptional, kAlways };
// Which elements of a head turn together: 2i and 2i + 1 (llama.cpp: norm), or i and i + n/2 (neox).
enum class RopeStyle : uint8_t { kNone, kInterleaved, kHalves };
enum class Activation : uint8_t { kSilu, kGelu };  // GELU as its tanh approximation, as llama.cpp
// What the feed-forward adds to: the sum after attention, or (parallel) the layer's input beside
// attention. kByKey: the key use_parallel_residual says; kByNorm: parallel where ffn_norm is
// absent.
enum class Residual : uint8_t { kSequential, kParallel, kByKey, kByNorm };

struct GraphRules {
  NormKind norm = NormKind::kRms;
  NormPlace norm_place = NormPlace::kBefore;
  Presence qk_norm = Presence::kNone;
  RopeStyle rope = RopeStyle::kHalves;
  Residual residual = Residual::kSequential;
  bool gated = true;  // activation(gate) * up, or plain activation(up)
  Activation activation = Activation::kSilu;
  bool embedding_norm = false;
  bool learned_positions = false;
  bool scales = false;            // keys embedding_scale, residual_scale; logits / logit_scale
  bool normalize_experts = true;  // weights of the chosen experts sum to 1
  bool shared_expert = false;
  double alibi_max_bias = 0;           // 0: no ALiBi
  uint32_t sliding_window_period = 0;  // every n-th layer sees everything; 0: no sliding window
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_GRAPH_RULES_H_
