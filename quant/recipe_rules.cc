#include "quant/recipe_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

namespace quern::quant {
namespace {

using T = TensorType;

// Conditions of rules.
bool Always(const RuleInput&) { return true; }
bool Falcon(const RuleInput& in) { return in.facts.architecture == "falcon"; }
bool EightExperts(const RuleInput& in) { return in.facts.expert_count == 8; }
bool NoImatrix(const RuleInput& in) { return !in.has_imatrix; }
bool HasImatrix(const RuleInput& in) { return in.has_imatrix; }
bool FirstTwo(const RuleInput& in) { return in.index < 2; }
bool FirstFour(const RuleInput& in) { return in.index < 4; }
bool FirstSixteenth(const RuleInput& in) { return in.index < in.count / 16; }
bool FirstEighth(const RuleInput& in) { return in.index < in.count / 8; }
bool Middle(const RuleInput& in) { return !FirstEighth(in) && in.index < 7 * in.count / 8; }
// The first and last eighth of the layers, and every third between them.
bool MoreBits(const RuleInput& in) { return !Middle(in) || (in.index - in.count / 8) % 3 == 2; }
// Four or more query heads share each value head, so that values are small and count for much.
bool SharedHeads(const RuleInput& in) {
  const ModelFacts& facts = in.facts;
  return facts.head_count_kv != 0 && facts.head_count / facts.head_count_kv >= 4;
}
bool SharedHeadsOrExperts(const RuleInput& in) {
  return SharedHeads(in) || in.facts.expert_count >= 4;
}
bool RowsDoNotFit(const RuleInput& in) {
  return in.columns % Info(in.file_type.base).block_elements != 0;
}
// In this architecture other stacks than experts' have three dimensions as well.
bool ExpertStack(const RuleInput& in) {
  const bool is_feed_forward = in.role == Role::kFeedForwardUp ||
                               in.role == Role::kFeedForwardGate ||
                               in.role == Role::kFeedForwardDown;
  return in.is_stack && (is_feed_forward || in.facts.architecture != "bailingmoe3");
}
template <auto... kConditions>
bool All(const RuleInput& in) {
  return (kConditions(in) && ...);
}

struct Rule {
  std::string_view file_types;  // names separated by spaces; empty: all
  bool (*applies)(const RuleInput&);
  std::optional<TensorType> type;  // absent: the file type's base
  std::string_view reason;
};

// File types below three bits: their rules come before all others, which then do not apply.
constexpr std::string_view kLow = "IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M";

constexpr Rule kOutputRules[] = {
    {"MXFP4_MOE", Always, T::kQ8_0, "output, no expert tensor"},
    {"", Falcon, T::kQ8_0, "output of Falcon"},
    {"", RowsDoNotFit, T::kQ8_0, "output whose rows are no multiple of the block"},
    {"IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS", Always, T::kQ5_K, "output"},
    {"Q8_0", Always, T::kQ8_0, "output"},
    {"", Always, T::kQ6_K, "output"},
};

constexpr Rule kMxfp4Rules[] = {
    {"", ExpertStack, T::kMXFP4, "expert tensor"},
    {"", Always, T::kQ8_0, "no expert tensor"},
};

constexpr Rule kTokenEmbeddingRules[] = {
    {"IQ1_S IQ1_M IQ2_XXS IQ2_XS", Always, T::kQ2_K, "token embedding"},
    {"IQ2_S IQ2_M IQ3_XXS", Always, T::kIQ3_S, "token embedding"},
    {"TQ1_0 TQ2_0 Q2_0", Always, T::kQ4_K, "token embedding"},
};

constexpr Rule kAttentionValueRules[] = {
    {kLow, SharedHeadsOrExperts, T::kQ4_K, "attention values shared by 4 heads, or of 4 experts"},
    {"IQ2_S IQ2_M", Always, T::kIQ3_S, "attention values"},
    {kLow, Always, T::kQ2_K, "attention values"},
    {"", EightExperts, T::kQ8_0, "attention values of a mixture of 8"},
    {"Q2_K Q2_K_S IQ3_XXS IQ3_XS IQ3_S", SharedHeads, T::kQ4_K,
     "attention values shared by 4 heads"},
    {"IQ4_NL IQ4_XS", SharedHeads, T::kQ5_K, "attention values shared by 4 heads"},
    {"Q2_K", Always, T::kQ3_K, "attention values"},
    {"IQ3_XXS", NoImatrix, T::kIQ3_S, "attention values without importance matrix"},
    {"IQ3_M", Always, T::kQ4_K, "attention values"},
    {"Q3_K_M", FirstTwo, T::kQ5_K, "attention values of the first two layers"},
    {"Q3_K_M", Always, T::kQ4_K, "attention values"},
    {"Q3_K_L", Always, T::kQ5_K, "attention values"},
    {"Q4_K_M Q5_K_M", MoreBits, T::kQ6_K, "attention values in a layer that gets more bits"},
    {"Q4_K_S", FirstFour, T::kQ5_K, "attention values of the first four layers"},
};

constexpr Rule kAttentionKeyRules[] = {
    {kLow, EightExperts, T::kQ4_K, "attention keys of a mixture of 8"},
    {"", EightExperts, T::kQ8_0, "attention keys of a mixture of 8"},
    {"IQ3_XS", Always, T::kIQ3_XXS, "attention keys"},
    {"IQ3_XXS", Always, T::kIQ2_S, "attention keys"},
};

constexpr Rule kAttentionQueryRules[] = {
    {"IQ3_XS", Always, T::kIQ3_XXS, "attention queries"},
    {"IQ3_XXS", Always, T::kIQ2_S, "attention queries"},
};

constexpr Rule kAttentionOutputRules[] = {
    {kLow, EightExperts, T::kQ5_K, "attention output of a mixture of 8"},
    {"IQ1_S IQ1_M", Always, T::kIQ2_XXS, "attention output"},
    {"IQ2_S IQ2_M", Always, T::kIQ3_S, "attention output"},
    {"Q3_K_L", Falcon, T::kQ4_K, "attention output of Falcon"},
    {"", Falcon, {}, "attention output of Falcon"},
    {"Q2_K IQ3_XS IQ3_XXS Q3_K_S Q3_K_M IQ4_NL Q4_K_S Q4_K_M IQ3_S IQ3_M IQ4_XS", EightExperts,
     T::kQ5_K, "attention output of a mixture of 8"},
    {"", EightExperts, {}, "attention output of a mixture of 8"},
    {"Q2_K", Always, T::kQ3_K, "attention output"},
    {"IQ3_XXS", Always, T::kIQ3_S, "attention output"},
    {"Q3_K_M IQ3_M", Always, T::kQ4_K, "attention output"},
    {"Q3_K_L", Always, T::kQ5_K, "attention output"},
};

constexpr Rule kFeedForwardDownRules[] = {
    {"IQ2_S IQ2_M", FirstEighth, T::kIQ3_S, "ffn_down in the first eighth"},
    {kLow, FirstEighth, T::kQ2_K, "ffn_down in the first eighth"},
    {"Q2_K", Always, T::kQ3_K, "ffn_down"},
    {"Q2_K_S", FirstEighth, T::kQ4_K, "ffn_down in the first eighth"},
    {"IQ3_XXS", All<NoImatrix, FirstEighth>, T::kQ4_K,
     "ffn_down in the first eighth without importance matrix"},
    {"IQ3_XXS", NoImatrix, T::kQ3_K, "ffn_down without importance matrix"},
    {"Q3_K_M", FirstSixteenth, T::kQ5_K, "ffn_down in the first sixteenth"},
    {"Q3_K_M", All<Falcon, MoreBits>, T::kQ4_K, "ffn_down in a layer that gets more bits"},
    {"Q3_K_M", Falcon, T::kQ3_K, "ffn_down of Falcon"},
    {"Q3_K_M", Always, T::kQ4_K, "ffn_down"},
    {"IQ3_M", FirstEighth, T::kQ4_K, "ffn_down in the first eighth"},
    {"IQ3_M", All<EightExperts, MoreBits>, T::kQ4_K, "ffn_down in a layer that gets more bits"},
    {"Q3_K_L", Falcon, T::kQ4_K, "ffn_down of Falcon"},
    {"Q3_K_L", Always, T::kQ5_K, "ffn_down"},
    {"Q4_K_M", All<Falcon, FirstSixteenth>, T::kQ6_K, "ffn_down in the first sixteenth"},
    {"Q4_K_M", All<Falcon, MoreBits>, T::kQ5_K, "ffn_down in a layer that gets more bits"},
    {"Q4_K_M", Falcon, T::kQ4_K, "ffn_down of Falcon"},
    {"Q4_K_M Q5_K_M", MoreBits, T::kQ6_K, "ffn_down in a layer that gets more bits"},
    {"IQ4_NL IQ4_XS", All<NoImatrix, FirstEighth>, T::kQ5_K,
     "ffn_down in the first eighth without importance matrix"},
    {"Q4_K_S", Falcon, {}, "ffn_down of Falcon"},
    {"Q4_K_S", FirstEighth, T::kQ5_K, "ffn_down in the first eighth"},
    {"Q4_0", All<HasImatrix, FirstEighth>, T::kQ4_1,
     "ffn_down in the first eighth with importance matrix"},
    {"Q5_0", All<HasImatrix, FirstEighth>, T::kQ5_1,
     "ffn_down in the first eighth with importance matrix"},
};

constexpr Rule kFeedForwardRules[] = {
    {"IQ3_XS", Middle, T::kIQ3_XXS, "feed-forward of the middle layers"},
};

// Models of the size of Llama-2-70B, where 8 query heads share each value head: a larger type for
// the values costs almost nothing. llama.cpp knows them by their number of layers alone.
struct LargeModel {
  std::string_view architecture;
  uint32_t blocks;
  bool needs_gqa;
};
constexpr LargeModel kLargeModels[] = {
    {"llama", 80, true},  {"llama-embed", 80, true}, {"deci", 80, false},
    {"qwen2", 80, false}, {"olmo", 80, false},       {"jais2", 68, false},
};

bool IsLargeModel(const ModelFacts& facts) {
  return std::any_of(std::begin(kLargeModels), std::end(kLargeModels), [&](const auto& large) {
    return facts.architecture == large.architecture && facts.block_count == large.blocks &&
           (!large.needs_gqa || facts.head_count != facts.head_count_kv);
  });
}

// Whether `name` is one of the words of `list`.
bool Lists(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(' '), list.size());
    if (list.substr(0, end) == name) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

std::span<const Rule> RulesFor(const RuleInput& input) {
  const bool is_output =
      input.role == Role::kOutput || (input.tied && input.role == Role::kTokenEmbedding);
  if (is_output) return kOutputRules;
  if (input.file_type.name == "MXFP4_MOE") return kMxfp4Rules;
  switch (input.role) {
    case Role::kTokenEmbedding:
      return kTokenEmbeddingRules;
    case Role::kAttentionValue:
      return kAttentionValueRules;
    case Role::kAttentionKey:
      return kAttentionKeyRules;
    case Role::kAttentionQuery:
      return kAttentionQueryRules;
    case Role::kAttentionOutput:
      return kAttentionOutputRules;
    case Role::kFeedForwardDown:
      return kFeedForwardDownRules;
    case Role::kFeedForwardUp:
    case Role::kFeedForwardGate:
      return kFeedForwardRules;
    case Role::kOutput:
    case Role::kOther:
      break;
  }
  return {};
}

}  // namespace

Role RoleOf(std::string_view name) {
  if (name == "output.weight") return Role::kOutput;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") {
    return Role::kTokenEmbedding;
  }
  constexpr std::pair<std::string_view, Role> kParts[] = {
      {"attn_qkv.weight", Role::kAttentionValue}, {"attn_kv_b.weight", Role::kAttentionValue},
      {"attn_v.weight", Role::kAttentionValue},   {"attn_k.weight", Role::kAttentionKey},
      {"attn_q.weight", Role::kAttentionQuery},   {"attn_output.weight", Role::kAttentionOutput},
      {"ffn_up", Role::kFeedForwardUp},           {"ffn_gate", Role::kFeedForwardGate},
      {"ffn_down", Role::kFeedForwardDown},
  };
  for (const auto& [part, role] : kParts) {
    if (name.find(part) != name.npos) return role;
  }
  return Role::kOther;
}

bool CountsByBlock(const FileType& file_type, const ModelFacts& facts, Role role) {
  const bool is_feed_forward = role == Role::kFeedForwardUp || role == Role::kFeedForwardGate ||
                               role == Role::kFeedForwardDown;
  return is_feed_forward && facts.expert_count > 1 && file_type.name != "MXFP4_MOE" &&
         !Lists(kLow, file_type.name);
}

RuleResult ApplyRules(const RuleInput& input) {
  TensorType type = input.file_type.base;
  std::string reason = "no special tensor";
  for (const Rule& rule : RulesFor(input)) {
    const bool is_listed = rule.file_types.empty() || Lists(rule.file_types, input.file_type.name);
    if (!is_listed || !rule.applies(input)) continue;
    type = rule.type.value_or(type);
    reason = rule.reason;
    break;
  }
  const bool is_raised = input.role == Role::kAttentionValue &&
                         (type == T::kQ3_K || type == T::kQ4_K) &&
                         input.file_type.name != "MXFP4_MOE" &&
                         !Lists(kLow, input.file_type.name) && IsLargeModel(input.facts);
  if (is_raised) return {T::kQ5_K, "attention values of a model of the 70B class"};
  return {type, std::move(reason)};
}

}  // namespace quern::quant
