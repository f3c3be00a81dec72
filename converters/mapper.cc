#include "converters/mapper.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "converters/computed_tensors.h"
#include "converters/name_pattern.h"
#include "converters/row_groups.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

// Never used by llama.cpp, whatever the architecture: causal masks and rotary tables that older
// checkpoints store as buffers.
constexpr std::array<std::string_view, 3> kBuffers = {"*.attention.masked_bias", "*.attention.bias",
                                                      "*.rotary_emb.inv_freq"};

bool IsSlice(const TensorRule& rule) {
  return std::any_of(rule.apply.begin(), rule.apply.end(),
                     [](const TensorStep& step) { return step.kind == TensorStep::Kind::kSlice; });
}

// A tensor of `shape` from its parts, or nothing if they do not make it up: equal copies, or pieces
// one after the other or side by side.
std::optional<Expression> Join(const std::vector<Expression>& parts, const Shape& shape) {
  const auto same = [&](const Expression& part) { return part.shape == shape; };
  if (std::all_of(parts.begin(), parts.end(), same)) return parts[0];
  for (size_t axis = 0; axis < std::min<size_t>(shape.size(), 2); ++axis) {
    uint64_t sum = 0;
    const bool fits = std::all_of(parts.begin(), parts.end(), [&](const Expression& part) {
      if (part.shape.size() != shape.size() || part.shape[axis] > shape[axis] - sum) return false;
      sum += part.shape[axis];
      Shape rest = part.shape;
      rest[axis] = shape[axis];
      return rest == shape;
    });
    if (!fits || sum != shape[axis]) continue;
    return axis == 0 ? Concat(parts) : ConcatColumns(parts);
  }
  return std::nullopt;
}

class Mapper {
 public:
  Mapper(const ModelSource& source, const Architecture& architecture, const Hyperparameters& h)
      : source_(source), architecture_(architecture), h_(h), blocks_(h.Count("block_count")) {
    for (const auto& rule : architecture.tensors) {
      if (h.Holds(rule.when)) rules_.push_back(&rule);
    }
    CountParts();
  }

  MappedTensors Run() {
    for (const TensorRule* rule : rules_) {
      if (rule->kind == TensorRule::Kind::kValues) {
        Emit(*rule, rule->target, Constant(ListedValues(*rule, h_)));
      } else if (rule->kind == TensorRule::Kind::kLlama3RopeFactors) {
        Emit(*rule, rule->target, Constant(Llama3RopeFactors(h_)));
      }
    }
    bool typed = false;
    for (const auto& tensor : source_.tensors()) {
      const std::string name = Canonical(tensor.name);
      if (Ignored(tensor.name) || Ignored(name)) {
        ++ignored_;
        continue;
      }
      // The precision of the first matrix that has one (config.json's torch_dtype is often wrong).
      if (!typed && tensor.shape.size() >= 2 &&
          (tensor.type == TensorType::kF16 || tensor.type == TensorType::kBF16)) {
        typed = true;
        result_.auto_type = tensor.type;
      }
      Take(tensor, name);
    }
    CheckComplete();
    if (ignored_ > 0) {
      result_.notes.push_back(fmt::format("{} tensors that {} has no use for were left out",
                                          ignored_, architecture_.name));
    }
    return std::move(result_);
  }

 private:
  struct Place {
    uint64_t block = 0, expert = 0;
    auto operator<=>(const Place&) const = default;
  };

  // The name as the patterns mean it: `strip` texts taken out, the optional prefix in place.
  std::string Canonical(std::string name) const {
    for (const auto& text : architecture_.strip) {
      for (size_t at; (at = name.find(text)) != std::string::npos;) name.erase(at, text.size());
    }
    return name;
  }

  bool Ignored(const std::string& name) const {
    const auto matches = [&](std::string_view pattern) { return MatchGlob(pattern, name); };
    return std::any_of(kBuffers.begin(), kBuffers.end(), matches) ||
           std::any_of(architecture_.ignore.begin(), architecture_.ignore.end(), matches);
  }

  std::optional<NameNumbers> Matches(const TensorRule& rule, const std::string& name) const {
    if (!TakesTensors(rule)) return {};
    const std::string& prefix = architecture_.optional_prefix;
    for (const std::string_view pattern : rule.sources) {
      if (auto numbers = MatchName(pattern, name)) return numbers;
      if (prefix.empty() || !pattern.starts_with(prefix)) continue;
      if (auto numbers = MatchName(pattern.substr(prefix.size()), name)) return numbers;
    }
    return std::nullopt;
  }

  static bool TakesTensors(const TensorRule& rule) {
    return rule.kind == TensorRule::Kind::kFrom || rule.kind == TensorRule::Kind::kStack ||
           rule.kind == TensorRule::Kind::kJoin;
  }

  // Source tensors that make up one target.
  uint64_t PiecesOf(const TensorRule& rule) const {
    if (rule.kind == TensorRule::Kind::kStack) return h_.Count(rule.count);
    return rule.kind == TensorRule::Kind::kJoin ? parts_ : 1;
  }

  // A model-parallel checkpoint has as many parts as the names of its tensors say.
  void CountParts() {
    for (const TensorRule* rule : rules_) {
      if (rule->kind != TensorRule::Kind::kJoin) continue;
      for (const auto& tensor : source_.tensors()) {
        const auto numbers = Matches(*rule, Canonical(tensor.name));
        // As many as there are tensors is beyond any; a larger number would only be missing more.
        const uint64_t part =
            std::min<uint64_t>(numbers ? numbers->expert.value_or(0) : 0, source_.tensors().size());
        parts_ = std::max(parts_, part + 1);
      }
    }
  }

  void Take(const TensorInfo& tensor, const std::string& name) {
    const TensorRule* taker = nullptr;
    for (const TensorRule* rule : rules_) {
      const auto numbers = Matches(*rule, name);
      if (!numbers) continue;
      // Slices of one tensor go to several targets.
      if (taker && !(IsSlice(*taker) && IsSlice(*rule))) {
        throw Error(ErrorCode::kDuplicate, {architecture_.file, {}, Printable(tensor.name)},
                    fmt::format("meets the rules of both {} and {}; make their patterns disjoint",
                                taker->target, rule->target));
      }
      taker = rule;
      if (numbers->block.value_or(0) >= std::max<uint64_t>(blocks_, 1) ||
          numbers->expert.value_or(0) >= PiecesOf(*rule)) {
        unexpected_.push_back(Printable(tensor.name));
        return;
      }
      TakeBy(*rule, *numbers, tensor);
    }
    if (!taker) unexpected_.push_back(Printable(tensor.name));
  }

  void TakeBy(const TensorRule& rule, const NameNumbers& numbers, const TensorInfo& tensor) {
    const Place place{numbers.block.value_or(0), numbers.expert.value_or(0)};
    if (!taken_[&rule].emplace(place, &tensor).second) {
      throw Error(
          ErrorCode::kDuplicate, {source_.path().string(), {}, Printable(tensor.name)},
          fmt::format("and {} both give {}; remove one of them",
                      Printable(taken_[&rule][place]->name), FillName(rule.target, numbers)));
    }
    if (rule.kind == TensorRule::Kind::kFrom) {
      Emit(rule, FillName(rule.target, numbers), Source(tensor));
    } else if (rule.kind == TensorRule::Kind::kStack) {
      EmitGroupIfComplete(rule, place.block, PiecesOf(rule));
    } else {
      EmitJoinedIfComplete(rule, place.block);
    }
  }

  void EmitJoinedIfComplete(const TensorRule& rule, uint64_t block) {
    std::vector<Expression> parts;
    for (uint64_t part = 0; part < parts_; ++part) {
      const auto taken = taken_[&rule].find({block, part});
      if (taken == taken_[&rule].end()) return;
      parts.push_back(Source(*taken->second));
    }
    const std::string name = FillName(rule.target, {.block = block, .expert = {}});
    if (parts.size() == 1) return Emit(rule, name, std::move(parts[0]));
    Shape shape;
    for (const auto& formula : rule.shape) shape.push_back(h_.WholeNumber(formula));
    auto joined = Join(parts, shape);
    if (!joined) {
      throw Error(
          ErrorCode::kBadShape, {source_.path().string(), {}, name},
          fmt::format("{} parts (the first has shape [{}]) do not make up [{}]; the "
                      "checkpoint is incomplete or its parts do not belong together",
                      parts.size(), fmt::join(parts[0].shape, ", "), fmt::join(shape, ", ")));
    }
    Emit(rule, name, std::move(*joined));
  }

  // Experts of one group (gate, up, down) are emitted together, in the order of the file.
  void EmitGroupIfComplete(const TensorRule& last, uint64_t block, uint64_t experts) {
    std::vector<const TensorRule*> group;
    for (const TensorRule* rule : rules_) {
      if (rule->kind == TensorRule::Kind::kStack && rule->group == last.group) {
        group.push_back(rule);
      }
    }
    const auto all = [&](const TensorRule* rule) {
      const auto& taken = taken_[rule];
      const auto begin = taken.lower_bound({block, 0}), end = taken.lower_bound({block + 1, 0});
      return static_cast<uint64_t>(std::distance(begin, end)) == experts;
    };
    if (!std::all_of(group.begin(), group.end(), all)) return;
    for (const TensorRule* rule : group) {
      std::vector<Expression> inputs;
      for (uint64_t e = 0; e < experts; ++e) inputs.push_back(Source(*taken_[rule][{block, e}]));
      Emit(*rule, FillName(rule->target, {.block = block, .expert = {}}), Stack(std::move(inputs)));
    }
  }

  Expression Apply(const TensorStep& step, Expression value) const {
    switch (step.kind) {
      case TensorStep::Kind::kTranspose:
        return Transpose(std::move(value));
      case TensorStep::Kind::kAddOne:
        return AddOne(std::move(value));
      case TensorStep::Kind::kPermuteRope:
        return PermuteRope(std::move(value), h_.Count(step.count));
      case TensorStep::Kind::kUngroup:
        return Ungroup(std::move(value), h_.Count(step.count), step.parts);
      case TensorStep::Kind::kSlice:
        return Slice(std::move(value), h_.WholeNumber(step.groups), h_.WholeNumber(step.first),
                     h_.WholeNumber(step.rows));
    }
    return value;
  }

  void Emit(const TensorRule& rule, std::string name, Expression value) {
    for (const auto& step : rule.apply) value = Apply(step, std::move(value));
    CheckShape(rule, name, value.shape);
    const auto keeps = [&](const std::string& pattern) { return MatchName(pattern, name); };
    const bool keep_f32 =
        KeptInF32(name, value.shape) ||
        std::any_of(architecture_.keep_f32.begin(), architecture_.keep_f32.end(), keeps);
    result_.tensors.push_back({std::move(name), std::move(value), keep_f32});
  }

  void CheckShape(const TensorRule& rule, const std::string& name, const Shape& shape) const {
    if (rule.shape.empty()) return;
    if (shape.size() != rule.shape.size()) {
      throw Error(ErrorCode::kBadShape, {source_.path().string(), {}, name},
                  fmt::format("has {} dimensions instead of {}; the checkpoint is of another "
                              "architecture than its config says",
                              shape.size(), rule.shape.size()));
    }
    for (size_t i = 0; i < shape.size(); ++i) {
      const double expected = h_.Compute(rule.shape[i]);
      if (static_cast<double>(shape[i]) == expected) continue;
      throw Error(ErrorCode::kBadValue, {h_.file(), {}, name},
                  fmt::format("has shape [{}], but {} = {:.0f} by the config; one of the two is "
                              "wrong or they belong to different models",
                              fmt::join(shape, ", "), rule.shape[i], expected));
    }
  }

  std::vector<std::string> Missing() const {
    std::vector<std::string> missing;
    for (const TensorRule* rule : rules_) {
      const bool stack = rule->kind == TensorRule::Kind::kStack;
      if (!TakesTensors(*rule)) continue;
      const auto taken = taken_.find(rule);
      if (rule->optional && (!stack || taken == taken_.end())) continue;
      const std::string& pattern = rule->sources[0];
      const uint64_t blocks = pattern.find("{i}") == std::string::npos ? 1 : blocks_;
      const uint64_t experts = PiecesOf(*rule);
      for (uint64_t b = 0; b < blocks; ++b) {
        for (uint64_t e = 0; e < experts; ++e) {
          if (taken != taken_.end() && taken->second.contains({b, e})) continue;
          missing.push_back(FillName(pattern, {.block = b, .expert = e}));
          if (missing.size() > kMaxListed) return missing;
        }
      }
    }
    return missing;
  }

  void CheckComplete() const {
    const auto missing = Missing();
    if (unexpected_.empty() && missing.empty()) return;
    std::string message;
    if (!unexpected_.empty()) {
      message = fmt::format("{} has no rule for {} tensors: {}", architecture_.name,
                            unexpected_.size(), fmt::join(unexpected_, ", "));
    }
    if (!missing.empty()) {
      message += fmt::format(
          "{}{}{} tensors are missing: {}{}", message.empty() ? "" : "; and ",
          missing.size() > kMaxListed ? "more than " : "", std::min(missing.size(), kMaxListed),
          fmt::join(missing.begin(),
                    missing.begin() + static_cast<ptrdiff_t>(std::min(missing.size(), kMaxListed)),
                    ", "),
          missing.size() > kMaxListed ? ", ..." : "");
    }
    message +=
        unexpected_.empty()
            ? "; download the missing shards, or correct the config's layer and expert counts"
            : "; docs/architectures.md says how to add rules to an architecture file";
    throw Error(unexpected_.empty() ? ErrorCode::kMissing : ErrorCode::kUnexpected,
                {source_.path().string(), {}, {}}, message);
  }

  // The config's counts are untrusted: a list is no longer than this.
  static constexpr size_t kMaxListed = 1000;

  const ModelSource& source_;
  const Architecture& architecture_;
  const Hyperparameters& h_;
  const uint64_t blocks_;
  uint64_t parts_ = 1;  // of a model-parallel checkpoint
  std::vector<const TensorRule*> rules_;
  std::map<const TensorRule*, std::map<Place, const TensorInfo*>> taken_;
  std::vector<std::string> unexpected_;
  size_t ignored_ = 0;
  MappedTensors result_;
};

// By part of the name after "blk.N."; TENSOR_NAMES of gguf-py's constants.py.
constexpr std::array<std::string_view, 19> kF32Patterns = {
    "blk.{i}.ffn_gate_inp.weight",
    "blk.{i}.ffn_gate_inp_shexp.weight",
    "position_embd.weight",
    "token_types.weight",
    "blk.{i}.ssm_conv1d.weight",
    "blk.{i}.ssm_conv1d_q.weight",
    "blk.{i}.ssm_conv1d_k.weight",
    "blk.{i}.ssm_conv1d_v.weight",
    "blk.{i}.shortconv.conv.weight",
    "blk.{i}.time_mix_first.weight",
    "blk.{i}.time_mix_w1.weight",
    "blk.{i}.time_mix_w2.weight",
    "blk.{i}.time_mix_decay_w1.weight",
    "blk.{i}.time_mix_decay_w2.weight",
    "blk.{i}.time_mix_lerp_fused.weight",
    "posnet.{i}.norm1.weight",
    "posnet.{i}.norm2.weight",
    "blk.{i}.altup_correct_coef.weight",
    "blk.{i}.altup_predict_coef.weight",
};

}  // namespace

bool KeptInF32(std::string_view name, const Shape& shape) {
  if (shape.size() <= 1 || name.ends_with("_norm.weight")) return true;
  if (!name.ends_with(".weight") && !name.ends_with(".lora_a") && !name.ends_with(".lora_b")) {
    return true;
  }
  return std::any_of(kF32Patterns.begin(), kF32Patterns.end(), [&](std::string_view pattern) {
    return MatchName(pattern, name).has_value();
  });
}

ParameterCounts CountParameters(const std::vector<OutputTensor>& tensors) {
  ParameterCounts counts;
  uint64_t experts = 0, stacks = 0;
  for (const auto& tensor : tensors) {
    const Shape& shape = tensor.value.shape;
    const uint64_t size = tensor.value.rows() * tensor.value.columns();
    counts.total += size;
    if (tensor.name.find("_exps.") != std::string::npos && shape.size() >= 3) {
      const uint64_t count = shape[shape.size() - 3];
      counts.expert += count > 0 ? size / count : 0;
      experts += count;
      ++stacks;
    } else {
      counts.shared += size;
    }
  }
  counts.expert_count = stacks > 0 ? experts / stacks : 0;
  return counts;
}

MappedTensors MapTensors(const ModelSource& source, const Architecture& architecture,
                         const Hyperparameters& hyperparameters) {
  return Mapper(source, architecture, hyperparameters).Run();
}

}  // namespace quern::converters
