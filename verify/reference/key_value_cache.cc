#include "verify/reference/key_value_cache.h"

namespace quern::verify {

KeyValueCache::KeyValueCache(const Graph& graph, size_t capacity) : capacity_(capacity) {
  for (uint64_t i = 0; i < graph.layers; ++i) {
    layers_.emplace_back(2 * capacity, graph.kv_heads * graph.head_size);
  }
}

uint64_t KeyValueCache::Bytes(const Graph& graph, size_t capacity) {
  return graph.layers * 2 * capacity * graph.kv_heads * graph.head_size * sizeof(float);
}

}  // namespace quern::verify
