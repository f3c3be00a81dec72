// Causal attention of one layer over windows, given projected and turned q, k and v.
#ifndef QUERN_VERIFY_REFERENCE_ATTENTION_H_
#define QUERN_VERIFY_REFERENCE_ATTENTION_H_

#include <cstddef>

#include "verify/reference/matrix.h"

namespace quern::verify {

struct AttentionShape {
  size_t windows = 0;
  size_t context = 0;                   // keys of a window: positions [0, context)
  size_t first_query = 0, queries = 0;  // queries of a window: positions from first_query on
  size_t heads = 0, kv_heads = 0, head_size = 0;
  float scale = 1;
  float softcap = 0;         // 0: none
  size_t sliding = 0;        // a query sees this many positions up to its own; 0: all
  float alibi_max_bias = 0;  // 0: none
};

// q[windows * queries, heads * head_size] becomes the heads' outputs, in place. k and v are
// [windows * context, kv_heads * head_size]. Each thread holds AttentionScratch() bytes of scores.
void Attend(const AttentionShape& shape, float* q, const float* k, const float* v,
            Products& products);

// Bytes that each thread of Attend needs.
size_t AttentionScratch(size_t context);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_ATTENTION_H_
