#include "verify/reference/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

// Queries that are multiplied at a time. Keys after the last of them are left out, so that a block
// computes at most this many columns of scores in vain.
constexpr size_t kBlock = 64;

// Slope of a head (Press et al. 2021; for other counts than powers of two as llama.cpp has it).
float AlibiSlope(size_t head, size_t heads, float max_bias) {
  const size_t power = std::bit_floor(heads);
  const auto of = [&](double exponent) {
    return static_cast<float>(std::exp2(-max_bias * exponent / static_cast<double>(power)));
  };
  if (head < power) return of(static_cast<double>(head + 1));
  return of((2.0 * static_cast<double>(head - power) + 1) / 2);
}

// The first position that a query sees.
size_t LowestKey(const AttentionShape& shape, size_t position) {
  return shape.sliding > 0 && position + 1 > shape.sliding ? position + 1 - shape.sliding : 0;
}

// Turns the scores of one query at `position` against keys [begin, begin + columns) into weights.
void Weigh(const AttentionShape& shape, float slope, size_t position, size_t begin, size_t columns,
           float* scores) {
  const size_t lowest = LowestKey(shape, position);
  const size_t first = lowest - begin;
  const size_t last = position + 1 - begin;
  std::fill(scores, scores + first, 0.0f);
  std::fill(scores + last, scores + columns, 0.0f);
  if (shape.softcap != 0) {
    for (size_t i = first; i < last; ++i) {
      scores[i] = shape.softcap * std::tanh(scores[i] / shape.softcap);
    }
  }
  if (slope != 0) {
    for (size_t i = first; i < last; ++i) {
      scores[i] -= slope * static_cast<float>(position - (begin + i));
    }
  }
  const size_t count = last - first;
  const float largest = Largest(scores + first, count);
  const double sum = ExponentiateAndSum(scores + first, count, largest);
  Scale(scores + first, count, static_cast<float>(1 / sum));
}

void AttendHead(const AttentionShape& shape, size_t window, size_t head, float* q, const float* k,
                const float* v, Products& products) {
  thread_local Scratch scratch;
  float* const scores = scratch.Fit(std::min(kBlock, shape.queries) * shape.context);
  const size_t q_step = shape.heads * shape.head_size;
  const size_t kv_step = shape.kv_heads * shape.head_size;
  const size_t shared = head / (shape.heads / shape.kv_heads) * shape.head_size;
  float* queries = q + window * shape.queries * q_step + head * shape.head_size;
  const float* keys = k + window * shape.context * kv_step + shared;
  const float* values = v + window * shape.context * kv_step + shared;
  const float slope =
      shape.alibi_max_bias != 0 ? AlibiSlope(head, shape.heads, shape.alibi_max_bias) : 0.0f;
  for (size_t row = 0; row < shape.queries; row += kBlock) {
    const size_t rows = std::min(kBlock, shape.queries - row);
    const size_t position = shape.first_query + row;
    const size_t end = position + rows;
    const size_t begin = LowestKey(shape, position);
    const size_t columns = end - begin;
    float* block = queries + row * q_step;
    products.Gemm(true, rows, columns, shape.head_size, shape.scale, block, q_step,
                  keys + begin * kv_step, kv_step, scores, columns);
    for (size_t i = 0; i < rows; ++i) {
      Weigh(shape, slope, position + i, begin, columns, scores + i * columns);
    }
    products.Gemm(false, rows, shape.head_size, columns, 1, scores, columns,
                  values + begin * kv_step, kv_step, block, q_step);
  }
}

}  // namespace

size_t AttentionScratch(size_t context) { return kBlock * context * sizeof(float); }

void Attend(const AttentionShape& shape, float* q, const float* k, const float* v,
            Products& products) {
  const size_t tasks = shape.windows * shape.heads;
  const int threads = products.ThreadsFor(tasks * shape.queries * shape.context * shape.head_size);
  ParallelFor(threads, tasks, [&](size_t i) {
    AttendHead(shape, i / shape.heads, i % shape.heads, q, k, v, products);
  });
}

}  // namespace quern::verify
