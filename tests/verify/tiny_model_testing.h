// Small seeded models of any graph, and the same computation in plain double-precision loops.
#ifndef QUERN_TESTS_VERIFY_TINY_MODEL_TESTING_H_
#define QUERN_TESTS_VERIFY_TINY_MODEL_TESTING_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "converters/graph_rules.h"
#include "verify/reference/model.h"

namespace quern::verify {

struct TinyOptions {
  converters::GraphRules rules;
  uint64_t layers = 2, width = 32, heads = 4, kv_heads = 2, head_size = 8, inner = 48,
           vocabulary = 40, context = 24;
  uint64_t experts = 0, experts_used = 0;
  bool joined_qkv = false, biases = false, ffn_norm = true, tied = false, rope_factors = false;
  uint64_t qk_norm_shape = 0;             // 0: per head, shared; 1: per head, own; 2: the whole row
  std::map<std::string, double> numbers;  // more keys, f32
  std::map<std::string, std::string> texts;
  std::map<std::string, uint64_t> counts;
  uint64_t seed = 1;
  double noise = 0;  // added to every weight, from another seed
};

struct TinyTensor {
  Shape shape;
  std::vector<float> values;
};
using TinyTensors = std::map<std::string, TinyTensor>;

TinyTensors MakeTensors(const TinyOptions& options);

// `change` may damage the tensors or the metadata before the model is opened.
ReferenceModel MakeModel(const TinyOptions& options,
                         const std::function<void(TinyTensors&, Metadata&)>& change = {});

// Logits [tokens][vocabulary] after each token.
std::vector<std::vector<double>> NaiveLogits(const TinyOptions& options,
                                             const std::vector<int32_t>& tokens);

// What entered each matrix: sums of squares per column, and counts, both per expert.
struct NaiveInput {
  std::vector<double> sums;
  std::vector<int64_t> counts;
};
using NaiveInputs = std::map<std::string, NaiveInput>;  // by the tensor's name
void AddNaiveInputs(const TinyOptions& options, const std::vector<int32_t>& tokens,
                    NaiveInputs& inputs);

std::vector<int32_t> RandomTokens(const TinyOptions& options, size_t count, uint64_t seed);

}  // namespace quern::verify

#endif  // QUERN_TESTS_VERIFY_TINY_MODEL_TESTING_H_
