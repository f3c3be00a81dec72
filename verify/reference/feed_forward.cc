#include "verify/reference/feed_forward.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

using converters::Activation;

constexpr size_t kGrain = 16;  // tokens that one thread takes at a time

// Floats per token of RunDense.
size_t DenseScratch(const FeedForward& feed) { return (feed.gate ? 2 : 1) * feed.up.rows; }

void RunDense(const FeedForward& feed, Activation activation, Weights& weights, const float* x,
              size_t tokens, float* scratch, float* out) {
  const size_t inner = feed.up.rows;
  const size_t width = feed.up.columns;
  float* up = scratch;
  float* gate = feed.gate ? scratch + tokens * inner : up;
  weights.Apply(feed.up, x, tokens, width, up, inner);
  if (feed.gate) weights.Apply(feed.gate, x, tokens, width, gate, inner);
  const auto activate = activation == Activation::kSilu ? Silu : Gelu;
  ParallelRanges(weights.products().threads(), tokens, kGrain, [&](size_t begin, size_t end) {
    activate(gate + begin * inner, feed.gate ? up + begin * inner : nullptr, (end - begin) * inner);
  });
  weights.Apply(feed.down, gate, tokens, inner, out, feed.down.rows);
}

struct Routed {
  std::vector<uint32_t> tokens;
  std::vector<float> shares;
};

std::vector<Routed> Route(const Graph& graph, const Layer& layer, Weights& weights, const float* x,
                          size_t tokens) {
  const size_t used = graph.experts_used;
  Matrix logits(tokens, graph.experts);
  weights.Apply(layer.router, x, tokens, graph.width, logits.data(), graph.experts);
  std::vector<uint32_t> chosen(tokens * used);
  std::vector<float> share(tokens * used);
  ChooseExperts(logits.data(), tokens, graph.experts, used, graph.rules.normalize_experts,
                chosen.data(), share.data());
  std::vector<Routed> routed(graph.experts);
  for (size_t i = 0; i < tokens * used; ++i) {
    routed[chosen[i]].tokens.push_back(static_cast<uint32_t>(i / used));
    routed[chosen[i]].shares.push_back(share[i]);
  }
  return routed;
}

// out += share * expert(x), for the tokens that chose it. Scratch: 2 * width per token beside the
// dense part's.
void AddExpert(const Graph& graph, const FeedForward& expert, const Routed& routed,
               Weights& weights, const float* x, float* scratch, float* out) {
  const size_t count = routed.tokens.size();
  if (count == 0) return;
  const size_t width = graph.width;
  float* gathered = scratch;
  float* result = gathered + count * width;
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(gathered + i * width, x + routed.tokens[i] * width, width * sizeof(float));
  }
  RunDense(expert, graph.rules.activation, weights, gathered, count, result + count * width,
           result);
  // A token is here at most once, so that threads never share a row of `out`.
  ParallelRanges(weights.products().threads(), count, kGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      AddScaled(result + i * width, routed.shares[i], out + routed.tokens[i] * width, width);
    }
  });
}

void AddShared(const Graph& graph, const Layer& layer, Weights& weights, const float* x,
               size_t tokens, float* scratch, float* out) {
  const size_t width = graph.width;
  float* result = scratch;
  std::vector<float> gate(tokens);
  weights.Apply(layer.shared_gate, x, tokens, width, gate.data(), 1);
  RunDense(layer.shared, graph.rules.activation, weights, x, tokens, scratch + tokens * width,
           result);
  ParallelRanges(weights.products().threads(), tokens, kGrain, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const float open = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(gate[t]))));
      AddScaled(result + t * width, open, out + t * width, width);
    }
  });
}

}  // namespace

void ChooseExperts(float* logits, size_t tokens, size_t experts, size_t used, bool normalize,
                   uint32_t* chosen, float* share) {
  std::vector<uint32_t> order(experts);
  for (size_t t = 0; t < tokens; ++t) {
    float* p = logits + t * experts;
    const double sum = ExponentiateAndSum(p, experts, Largest(p, experts));
    std::iota(order.begin(), order.end(), 0u);
    std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(used), order.end(),
                      [&](uint32_t a, uint32_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
    double total = sum;
    if (normalize) {
      total = 0;
      for (size_t i = 0; i < used; ++i) total += static_cast<double>(p[order[i]]);
    }
    for (size_t i = 0; i < used; ++i) {
      chosen[t * used + i] = order[i];
      share[t * used + i] = static_cast<float>(static_cast<double>(p[order[i]]) / total);
    }
  }
}

size_t FeedForwardScratch(const Graph& graph, const Layer& layer) {
  if (layer.experts.empty()) return DenseScratch(layer.dense);
  // Every token may choose the same expert; the router's logits and choices are beside this.
  const size_t routed = 2 * graph.width + DenseScratch(layer.experts.front());
  const size_t shared = layer.shared.up ? graph.width + DenseScratch(layer.shared) : 0;
  return std::max(routed, shared);
}

void RunFeedForward(const Graph& graph, const Layer& layer, Weights& weights, const float* x,
                    size_t tokens, float* scratch, float* out) {
  if (layer.experts.empty()) {
    RunDense(layer.dense, graph.rules.activation, weights, x, tokens, scratch, out);
    return;
  }
  std::fill(out, out + tokens * graph.width, 0.0f);
  const std::vector<Routed> routed = Route(graph, layer, weights, x, tokens);
  for (size_t e = 0; e < graph.experts; ++e) {
    AddExpert(graph, layer.experts[e], routed[e], weights, x, scratch, out);
  }
  if (layer.shared.up) AddShared(graph, layer, weights, x, tokens, scratch, out);
}

}  // namespace quern::verify
