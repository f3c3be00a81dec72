// The feed-forward part of a layer: dense, or a mixture of experts with or without a shared one.
#ifndef QUERN_VERIFY_REFERENCE_FEED_FORWARD_H_
#define QUERN_VERIFY_REFERENCE_FEED_FORWARD_H_

#include "verify/reference/graph.h"
#include "verify/reference/tensors.h"
#include "verify/reference/weights.h"

namespace quern::verify {

// Floats of scratch per token that RunFeedForward needs.
size_t FeedForwardScratch(const Graph& graph, const Layer& layer);

// out[tokens, width] = feed-forward of x[tokens, width].
void RunFeedForward(const Graph& graph, const Layer& layer, Weights& weights, const float* x,
                    size_t tokens, float* scratch, float* out);

// For each token the `used` largest of `experts` softmax weights, largest first, as pairs
// (chosen[tokens, used], share[tokens, used]); `normalize` makes a token's shares sum to 1.
// logits[tokens, experts] is overwritten.
void ChooseExperts(float* logits, size_t tokens, size_t experts, size_t used, bool normalize,
                   uint32_t* chosen, float* share);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_FEED_FORWARD_H_
