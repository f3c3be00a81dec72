#include "verify/reference/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "formats/core/error.h"

namespace quern::verify {
namespace {

using converters::Residual;
using converters::RopeStyle;

// No model comes near these; they keep every product of two of them in 64 bits.
constexpr int64_t kMaxDimension = int64_t{1} << 28;
constexpr int64_t kMaxLayers = 4096;

// The keys of one architecture.
class Keys {
 public:
  explicit Keys(const converters::OutputModel& model)
      : metadata_(model.metadata), prefix_(model.architecture + ".") {}

  [[noreturn]] void Fail(std::string_view key, ErrorCode code, std::string_view message) const {
    throw Error(code, {{}, {}, Printable(prefix_ + std::string(key))}, message);
  }
  const Value* Find(std::string_view key) const {
    return metadata_.Find(prefix_ + std::string(key));
  }

  // An array counts as the one value that all its items have.
  std::optional<uint64_t> CountIfAny(std::string_view key, int64_t max = kMaxDimension) const {
    const Value* value = Find(key);
    if (value == nullptr) return std::nullopt;
    const std::optional<int64_t> count = std::holds_alternative<Array>(*value)
                                             ? SameOfAll(key, std::get<Array>(*value))
                                             : metadata_.GetInteger(prefix_ + std::string(key));
    if (!count || *count < 0 || *count > max) {
      Fail(key, ErrorCode::kBadValue,
           fmt::format("must be a whole number up to {}; the file is damaged", max));
    }
    return static_cast<uint64_t>(*count);
  }
  uint64_t Count(std::string_view key, int64_t max = kMaxDimension) const {
    const auto count = CountIfAny(key, max);
    if (!count) {
      Fail(key, ErrorCode::kMissing, "is not in the metadata; convert the model again");
    }
    if (*count == 0) Fail(key, ErrorCode::kBadValue, "must not be 0; the file is damaged");
    return *count;
  }
  std::optional<double> NumberIfAny(std::string_view key) const {
    const Value* value = Find(key);
    if (value == nullptr) return std::nullopt;
    const auto integer = metadata_.GetInteger(prefix_ + std::string(key));
    const float* f32 = std::get_if<float>(value);
    const double* f64 = std::get_if<double>(value);
    const double number = f32 ? *f32 : f64 ? *f64 : integer ? double(*integer) : NAN;
    if (!std::isfinite(number)) {
      Fail(key, ErrorCode::kBadValue, "must be a finite number; the file is damaged");
    }
    return number;
  }
  double Number(std::string_view key, double otherwise) const {
    return NumberIfAny(key).value_or(otherwise);
  }
  bool Flag(std::string_view key, bool otherwise) const {
    const Value* value = Find(key);
    if (value == nullptr) return otherwise;
    const bool* flag = std::get_if<bool>(value);
    if (flag == nullptr) Fail(key, ErrorCode::kBadType, "must be a bool; the file is damaged");
    return *flag;
  }
  std::string Text(std::string_view key, std::string otherwise) const {
    const auto text = metadata_.GetString(prefix_ + std::string(key));
    return text ? std::string(*text) : otherwise;
  }

 private:
  std::optional<int64_t> SameOfAll(std::string_view key, const Array& array) const {
    return std::visit(
        [&](const auto& items) -> std::optional<int64_t> {
          using Items = std::decay_t<decltype(items)>;
          if constexpr (std::is_same_v<Items, std::vector<int32_t>> ||
                        std::is_same_v<Items, std::vector<uint32_t>>) {
            if (items.empty()) return std::nullopt;
            if (std::adjacent_find(items.begin(), items.end(), std::not_equal_to<>()) !=
                items.end()) {
              Fail(key, ErrorCode::kUnsupported,
                   "differs from layer to layer, which the reference inference does not compute; "
                   "use llama-perplexity for this model");
            }
            return static_cast<int64_t>(items.front());
          } else {
            return std::nullopt;
          }
        },
        array.items);
  }

  const Metadata& metadata_;
  std::string prefix_;
};

// ln(factor) grows the vectors that YaRN turns: 1 + 0.1 m ln(factor).
double YarnMagnitude(double factor, double m) {
  return factor <= 1 ? 1 : 1 + 0.1 * m * std::log(factor);
}

void ResolveScaling(const Keys& keys, Rope& rope) {
  const std::string type = keys.Text("rope.scaling.type", "linear");
  const double factor = keys.Number("rope.scaling.factor", keys.Number("rope.scale_linear", 0));
  const bool yarn = type == "yarn";
  if (type != "none" && type != "linear" && !yarn) {
    keys.Fail("rope.scaling.type", ErrorCode::kUnsupported,
              fmt::format("\"{}\" is not computed by the reference inference (none, linear and "
                          "yarn are); use llama-perplexity for this model",
                          Printable(type)));
  }
  if (factor < 0) keys.Fail("rope.scaling.factor", ErrorCode::kBadValue, "must not be negative");
  rope.scale = type == "none" || factor == 0 ? 1 : 1 / factor;
  rope.beta_fast = keys.Number("rope.scaling.yarn_beta_fast", 32);
  rope.beta_slow = keys.Number("rope.scaling.yarn_beta_slow", 1);
  const double extrapolate = keys.Number("rope.scaling.yarn_ext_factor", -1);
  rope.extrapolate = extrapolate >= 0 ? extrapolate : yarn ? 1 : 0;
  rope.magnitude = keys.Number("rope.scaling.yarn_attn_factor", 1);
  if (rope.extrapolate != 0) {
    // llama-context.cpp: the key above does not count, and the kernel's own factor is taken out.
    const double log_multiplier = keys.Number("rope.scaling.yarn_log_multiplier", 0);
    const double full = 1 / rope.scale;
    rope.magnitude = YarnMagnitude(full, 1);
    if (log_multiplier != 0) rope.magnitude /= YarnMagnitude(full, log_multiplier);
    rope.magnitude /= 1 + 0.1 * std::log(full);
  }
  rope.magnitude *= keys.Number("rope.scaling.attn_factor", 1);
}

Rope ResolveRope(const Keys& keys, const converters::GraphRules& rules, uint64_t head_size) {
  Rope rope{.style = rules.rope};
  if (rope.style == RopeStyle::kNone) return rope;
  rope.dimensions = keys.CountIfAny("rope.dimension_count").value_or(head_size);
  if (rope.dimensions > head_size || rope.dimensions % 2 != 0 || rope.dimensions == 0) {
    keys.Fail("rope.dimension_count", ErrorCode::kBadValue,
              fmt::format("{} is not an even part of a head of {}; the file is damaged",
                          rope.dimensions, head_size));
  }
  rope.base = keys.Number("rope.freq_base", 10000);
  if (rope.base <= 1) keys.Fail("rope.freq_base", ErrorCode::kBadValue, "must be more than 1");
  rope.original_context = static_cast<double>(
      keys.CountIfAny("rope.scaling.original_context_length", int64_t{1} << 40)
          .value_or(keys.CountIfAny("context_length", int64_t{1} << 40).value_or(0)));
  ResolveScaling(keys, rope);
  if (rope.extrapolate != 0 && rope.original_context == 0) {
    keys.Fail("rope.scaling.original_context_length", ErrorCode::kMissing,
              "YaRN needs it; convert the model again");
  }
  return rope;
}

void ResolveSlidingWindow(const Keys& keys, Graph& graph) {
  graph.sliding.assign(graph.layers, false);
  const uint32_t period = graph.rules.sliding_window_period;
  if (period == 0) return;
  graph.sliding_window = keys.CountIfAny("attention.sliding_window").value_or(0);
  if (graph.sliding_window == 0) return;
  const Value* pattern = keys.Find("attention.sliding_window_pattern");
  const Array* array = pattern ? std::get_if<Array>(pattern) : nullptr;
  const auto* flags = array ? std::get_if<std::vector<bool>>(&array->items) : nullptr;
  if (pattern && (flags == nullptr || flags->size() != graph.layers)) {
    keys.Fail("attention.sliding_window_pattern", ErrorCode::kBadValue,
              "must be a bool for each layer; convert the model again");
  }
  for (uint64_t i = 0; i < graph.layers; ++i) {
    graph.sliding[i] = flags ? (*flags)[i] : i % period + 1 < period;
  }
}

void ResolveAttention(const Keys& keys, Graph& graph) {
  graph.heads = keys.Count("attention.head_count");
  graph.kv_heads = keys.CountIfAny("attention.head_count_kv").value_or(graph.heads);
  if (graph.kv_heads == 0 || graph.heads % graph.kv_heads != 0) {
    keys.Fail(
        "attention.head_count_kv", ErrorCode::kBadValue,
        fmt::format("{} heads cannot share {}; the file is damaged", graph.heads, graph.kv_heads));
  }
  graph.head_size = keys.CountIfAny("attention.key_length").value_or(graph.width / graph.heads);
  if (graph.head_size == 0 || graph.heads * graph.head_size > uint64_t{kMaxDimension}) {
    keys.Fail("attention.head_count", ErrorCode::kBadValue, "does not fit the width");
  }
  if (keys.CountIfAny("attention.value_length").value_or(graph.head_size) != graph.head_size) {
    keys.Fail("attention.value_length", ErrorCode::kUnsupported,
              "differs from attention.key_length, which the reference inference does not compute; "
              "use llama-perplexity for this model");
  }
  if (!keys.Flag("attention.causal", true)) {
    keys.Fail("attention.causal", ErrorCode::kUnsupported,
              "is false: this model does not predict the next token, so that it has no perplexity");
  }
  const double scale = keys.Number("attention.scale", 0);
  graph.attention_scale = scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(graph.head_size));
  graph.attention_softcap = keys.Number("attn_logit_softcapping", 0);
  graph.logit_softcap = keys.Number("final_logit_softcapping", 0);
}

}  // namespace

Graph ResolveGraph(const converters::OutputModel& model, const converters::GraphRules& rules) {
  const Keys keys(model);
  Graph graph{.architecture = model.architecture, .rules = rules};
  graph.layers = keys.Count("block_count", kMaxLayers);
  graph.width = keys.Count("embedding_length");
  ResolveAttention(keys, graph);
  graph.experts = keys.CountIfAny("expert_count", 65536).value_or(0);
  if (graph.experts > 0) {
    graph.experts_used = keys.Count("expert_used_count", static_cast<int64_t>(graph.experts));
    if (keys.CountIfAny("expert_gating_func").value_or(1) != 1) {
      keys.Fail("expert_gating_func", ErrorCode::kUnsupported,
                "only softmax is computed by the reference inference; use llama-perplexity");
    }
  }
  const char* epsilon = rules.norm == converters::NormKind::kRms
                            ? "attention.layer_norm_rms_epsilon"
                            : "attention.layer_norm_epsilon";
  const auto found = keys.NumberIfAny(epsilon);
  if (!found) keys.Fail(epsilon, ErrorCode::kMissing, "is not in the metadata; convert again");
  if (*found < 0) keys.Fail(epsilon, ErrorCode::kBadValue, "must not be negative");
  graph.norm_epsilon = *found;
  graph.rope = ResolveRope(keys, rules, graph.head_size);
  if (rules.scales) {
    const auto scale = [&](const char* key) {  // 0 stands for none, as in llama.cpp
      const double value = keys.Number(key, 0);
      return value == 0 ? 1 : value;
    };
    graph.embedding_scale = scale("embedding_scale");
    graph.residual_scale = scale("residual_scale");
    graph.logit_scale = 1 / scale("logit_scale");
  }
  graph.parallel = rules.residual == Residual::kParallel ||
                   (rules.residual == Residual::kByKey && keys.Flag("use_parallel_residual", true));
  ResolveSlidingWindow(keys, graph);
  return graph;
}

}  // namespace quern::verify
