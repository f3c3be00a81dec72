// Keys and values of the positions of one text that every layer has computed already: with them the
// positions that follow cost no more than themselves.
#ifndef QUERN_VERIFY_REFERENCE_KEY_VALUE_CACHE_H_
#define QUERN_VERIFY_REFERENCE_KEY_VALUE_CACHE_H_

#include <vector>

#include "verify/reference/graph.h"
#include "verify/reference/matrix.h"

namespace quern::verify {

class KeyValueCache {
 public:
  // Room for positions [0, capacity).
  KeyValueCache(const Graph& graph, size_t capacity);

  // Bytes of such a cache.
  static uint64_t Bytes(const Graph& graph, size_t capacity);

  // Positions that are in it.
  size_t length() const { return length_; }
  size_t capacity() const { return capacity_; }

  // [capacity, kv_heads * head_size] of one layer.
  float* keys(uint64_t layer) { return layers_[layer].data(); }
  float* values(uint64_t layer) { return layers_[layer].row(capacity_); }

  // After all layers have written the next `positions`.
  void Grow(size_t positions) { length_ += positions; }

 private:
  std::vector<Matrix> layers_;  // keys, then values
  size_t capacity_;
  size_t length_ = 0;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_KEY_VALUE_CACHE_H_
