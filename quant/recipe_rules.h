// Internal to quant/: which type a file type gives a tensor, by the tensor's role in the model.
//
// Rules are rows of tables, tried in order; the first that applies decides. They are llama.cpp
// v0.5.0's choices (measured with its library: testdata/recipes). Non-goals: overrides by the user
// and row sizes that do not fit the type, which recipe.cc handles.
#ifndef QUERN_QUANT_RECIPE_RULES_H_
#define QUERN_QUANT_RECIPE_RULES_H_

#include <string>
#include <string_view>

#include "quant/recipe.h"

namespace quern::quant {

// What a tensor does, as far as recipes care.
enum class Role {
  kTokenEmbedding,
  kOutput,
  kAttentionValue,  // V, fused QKV, and MLA's KV_B
  kAttentionKey,
  kAttentionQuery,
  kAttentionOutput,
  kFeedForwardUp,
  kFeedForwardGate,
  kFeedForwardDown,
  kOther,
};
Role RoleOf(std::string_view name);

// Everything that a rule may look at.
struct RuleInput {
  const FileType& file_type;
  const ModelFacts& facts;
  Role role;
  uint64_t columns;  // weights in a row
  bool is_stack;     // a stack of matrices, one per expert
  bool has_imatrix;
  bool tied;      // the model has no output.weight: token_embd serves as one
  int64_t index;  // of this tensor among `count` of its role, in file order (or its block's number)
  int64_t count;
};

struct RuleResult {
  TensorType type;
  std::string reason;
};
RuleResult ApplyRules(const RuleInput& input);

// Whether tensors of this role are counted by the number of their block, not in file order: in
// mixtures, whose expert tensors may come one by one.
bool CountsByBlock(const FileType& file_type, const ModelFacts& facts, Role role);

}  // namespace quern::quant

#endif  // QUERN_QUANT_RECIPE_RULES_H_
