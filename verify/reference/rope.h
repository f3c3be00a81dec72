// Rotary positions, with linear and YaRN scaling and factors per frequency (Llama 3.1).
#ifndef QUERN_VERIFY_REFERENCE_ROPE_H_
#define QUERN_VERIFY_REFERENCE_ROPE_H_

#include <span>
#include <vector>

#include "verify/reference/graph.h"

namespace quern::verify {

class RopeTable {
 public:
  // For positions [0, context). `factors`: one per pair, or none.
  RopeTable(const Rope& rope, std::span<const float> factors, size_t context);

  // Turns `heads` heads of `head_size` elements at `position`, in place.
  void Turn(float* row, size_t heads, size_t head_size, size_t position) const;

 private:
  converters::RopeStyle style_;
  size_t pairs_;
  std::vector<float> cos_, sin_;  // [context, pairs]
};

// The same without scaling, for layers with a sliding window.
Rope Unscaled(Rope rope);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_ROPE_H_
