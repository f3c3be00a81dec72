#include "converters/inverse.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "converters/name_pattern.h"
#include "converters/row_groups.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

// Some rows of each of `groups` runs of rows, on the way to the tensor that they were taken from.
struct Part {
  Expression value;
  uint64_t groups = 1, first = 0, rows = 0;
};

// From the config, whether or not it says so: such tensors are nothing to invert.
bool IsComputed(const TensorRule& rule) {
  return rule.kind == TensorRule::Kind::kValues ||
         rule.kind == TensorRule::Kind::kLlama3RopeFactors;
}

class Inverter {
 public:
  Inverter(const ModelSource& gguf, const Architecture& architecture, const Hyperparameters& h)
      : gguf_(gguf), h_(h), blocks_(h.Count("block_count")) {
    // What is not there cannot be listed: the count is the file's claim.
    if (blocks_ > gguf.tensors().size()) {
      throw Error(ErrorCode::kBadValue, {gguf.path().string(), {}, "block_count"},
                  fmt::format("{} layers cannot be in {} tensors; the file is damaged", blocks_,
                              gguf.tensors().size()));
    }
    for (const auto& rule : architecture.tensors) {
      if (IsComputed(rule)) {
        used_.insert(gguf.FindTensor(rule.target));
      } else if (h.Holds(rule.when)) {
        Invert(rule);
      }
    }
  }

  std::vector<OutputTensor> Run() {
    RequireComplete();
    std::vector<const Sources::value_type*> order;
    for (const auto& source : sources_) order.push_back(&source);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return a->second.place < b->second.place; });
    std::vector<OutputTensor> tensors;
    for (const auto* source : order) {
      tensors.push_back({source->first, Whole(source->first, source->second)});
    }
    return tensors;
  }

 private:
  // A tensor of the checkpoint: what it is put together from, and the steps that lead from there
  // back to how it is stored.
  struct Source {
    std::vector<Part> parts;
    const TensorRule* rule = nullptr;
    size_t steps = 0;                 // of the rule, still to undo
    std::pair<size_t, size_t> place;  // first GGUF tensor, and number within it
  };
  using Sources = std::map<std::string, Source>;

  void Invert(const TensorRule& rule) {
    const bool layered = rule.target.find("{i}") != std::string::npos;
    for (uint64_t block = 0; block < (layered ? blocks_ : 1); ++block) {
      const std::string target = FillName(rule.target, {.block = block, .expert = {}});
      const TensorInfo* tensor = gguf_.FindTensor(target);
      if (tensor == nullptr) {
        if (!rule.optional) missing_.push_back(target);
        continue;
      }
      used_.insert(tensor);
      InvertTensor(rule, block, *tensor);
    }
  }

  // llama.cpp's quantizer drops outermost dimensions of 1; a rule that knows the shape has them.
  static Expression WithOuterOnes(const TensorRule& rule, const TensorInfo& tensor) {
    Expression value = Decode(converters::Source(tensor));
    if (rule.shape.size() <= tensor.shape.size()) return value;
    Shape shape = tensor.shape;
    shape.insert(shape.begin(), rule.shape.size() - tensor.shape.size(), 1);
    return Reshape(std::move(value), std::move(shape));
  }

  void InvertTensor(const TensorRule& rule, uint64_t block, const TensorInfo& tensor) {
    Part part{WithOuterOnes(rule, tensor)};
    size_t step = rule.apply.size();
    while (step > 0 && rule.apply[step - 1].kind != TensorStep::Kind::kSlice) {
      part.value = Undo(rule.apply[--step], std::move(part.value));
    }
    if (step > 0) {
      const TensorStep& slice = rule.apply[--step];
      part.groups = h_.WholeNumber(slice.groups);
      part.first = h_.WholeNumber(slice.first);
      part.rows = h_.WholeNumber(slice.rows);
    }
    if (rule.kind != TensorRule::Kind::kStack) return Add(rule, {block, 0}, step, std::move(part));
    const uint64_t experts = h_.Count(rule.count);
    const Shape& shape = part.value.shape;
    if (shape.empty() || shape[0] != experts) {
      throw Error(ErrorCode::kBadShape, {gguf_.path().string(), {}, tensor.name},
                  fmt::format("has shape [{}] and not {} experts, as the metadata says; the file "
                              "is damaged",
                              fmt::join(shape, ", "), experts));
    }
    const Shape one(shape.begin() + 1, shape.end());
    for (uint64_t e = 0; e < experts; ++e) {
      Add(rule, {block, e}, step, {Reshape(Rows(part.value, e, 1), one)});
    }
  }

  void Add(const TensorRule& rule, std::pair<uint64_t, uint64_t> numbers, size_t steps, Part part) {
    const std::string name =
        FillName(rule.sources.at(0), {.block = numbers.first, .expert = numbers.second});
    Source& source = sources_[name];
    if (source.rule == nullptr) {
      source.rule = &rule;
      source.steps = steps;
      source.place = {PlaceOf(part.value), sources_.size()};
    } else if (part.rows == 0 || source.parts[0].rows == 0) {
      throw Error(ErrorCode::kDuplicate, {gguf_.path().string(), {}, Printable(name)},
                  fmt::format("{} and {} both come from this tensor; the architecture file "
                              "cannot be read backwards",
                              source.rule->target, rule.target));
    }
    source.parts.push_back(std::move(part));
  }

  // The number of the GGUF tensor that an expression reads.
  size_t PlaceOf(const Expression& value) const {
    if (value.op == Op::kSource) return static_cast<size_t>(value.source - &gguf_.tensors()[0]);
    return PlaceOf(value.inputs[0]);
  }

  Expression Undo(const TensorStep& step, Expression value) const {
    switch (step.kind) {
      case TensorStep::Kind::kTranspose:
        return Transpose(std::move(value));
      case TensorStep::Kind::kAddOne:
        return SubtractOne(std::move(value));
      case TensorStep::Kind::kPermuteRope:
        return UnpermuteRope(std::move(value), h_.Count(step.count));
      case TensorStep::Kind::kUngroup:
        return Ungroup(std::move(value), step.parts, h_.Count(step.count));
      case TensorStep::Kind::kSlice:
        break;  // one slice in a rule, undone by Whole()
    }
    throw Error(ErrorCode::kUnsupported, {{}, {}, Describe(value)},
                "a slice of a slice cannot be undone; write one slice in the architecture file");
  }

  Expression Whole(const std::string& name, const Source& source) const {
    Expression value = source.parts[0].rows == 0 ? source.parts[0].value : Joined(name, source);
    for (size_t step = source.steps; step > 0; --step) {
      value = Undo(source.rule->apply[step - 1], std::move(value));
    }
    return value;
  }

  // Slices of every group, one after the other; they must leave nothing out.
  Expression Joined(const std::string& name, const Source& source) const {
    std::vector<Part> parts = source.parts;
    std::sort(parts.begin(), parts.end(),
              [](const Part& a, const Part& b) { return a.first < b.first; });
    uint64_t end = 0;
    for (const Part& part : parts) {
      const bool fits = part.groups > 0 && part.groups == parts[0].groups && part.first == end &&
                        !part.value.shape.empty() && part.value.shape[0] / part.groups == part.rows;
      if (!fits) {
        throw Error(ErrorCode::kBadShape, {gguf_.path().string(), {}, Printable(name)},
                    fmt::format("its parts do not fit together: {} has shape [{}]",
                                Describe(part.value), fmt::join(part.value.shape, ", ")));
      }
      end += part.rows;
    }
    std::vector<Expression> pieces;
    for (uint64_t group = 0; group < parts[0].groups; ++group) {
      for (const Part& part : parts) {
        pieces.push_back(Rows(part.value, group * part.rows, part.rows));
      }
    }
    return Concat(std::move(pieces));
  }

  void RequireComplete() const {
    std::vector<std::string> unexpected;
    for (const TensorInfo& tensor : gguf_.tensors()) {
      if (!used_.contains(&tensor)) unexpected.push_back(Printable(tensor.name));
    }
    if (missing_.empty() && unexpected.empty()) return;
    const bool only_missing = unexpected.empty();
    std::string message;
    if (!missing_.empty()) {
      message =
          fmt::format("{} tensors are missing: {}; ", missing_.size(), fmt::join(missing_, ", "));
    }
    if (!only_missing) {
      message += fmt::format("the architecture has no use for {} tensors: {}; ", unexpected.size(),
                             fmt::join(unexpected, ", "));
    }
    message += "docs/architectures.md says how to describe another architecture";
    throw Error(only_missing ? ErrorCode::kMissing : ErrorCode::kUnexpected,
                {gguf_.path().string(), {}, {}}, message);
  }

  const ModelSource& gguf_;
  const Hyperparameters& h_;
  const uint64_t blocks_;
  std::set<const TensorInfo*> used_;
  std::vector<std::string> missing_;
  Sources sources_;
};

}  // namespace

std::vector<OutputTensor> InvertTensors(const ModelSource& gguf, const Architecture& architecture,
                                        const Hyperparameters& hyperparameters) {
  return Inverter(gguf, architecture, hyperparameters).Run();
}

}  // namespace quern::converters
