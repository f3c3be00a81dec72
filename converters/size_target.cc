#include "converters/size_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "formats/core/error.h"
#include "formats/gguf/gguf_format.h"
#include "quant/budget.h"
#include "quant/codec.h"
#include "quant/imatrix.h"
#include "quant/sensitivity.h"

namespace quern::converters {
namespace {

using quant::BudgetItem;
using quant::ErrorStatistics;
using quant::RecipeTensor;
using quant::TypeChoice;

// A type that a tensor may get.
struct Option {
  TensorType type;
  double relative_squared_error = 0;
  bool measured = false;
};

// Every type of every recipe, and the half precisions.
std::vector<TensorType> KnownTypes() {
  std::set<TensorType> types = {TensorType::kF16, TensorType::kBF16};
  for (const quant::FileType& file_type : quant::FileTypes()) {
    if (IsQuantized(file_type.base)) types.insert(file_type.base);
  }
  return {types.begin(), types.end()};
}

// What the tensor may become: itself (first), and smaller types that its rows fit (no fall-backs).
// Types that are worthless without importance values are left out where it has none.
std::vector<TensorType> PossibleTypes(const RecipeTensor& tensor, bool has_importance) {
  std::vector<TensorType> types = {tensor.type};
  const auto stored = TensorBytes(tensor.type, tensor.shape);
  for (const TensorType type : KnownTypes()) {
    const quant::Codec* codec = quant::FindCodec(type);
    const auto bytes = TensorBytes(type, tensor.shape);
    if (!codec || !codec->quantize || !bytes || !stored || *bytes >= *stored) continue;
    if (!has_importance && (codec->needs_imatrix || quant::NeedsImportance(type))) continue;
    types.push_back(type);
  }
  return types;
}

double RelativeSquaredError(const ErrorStatistics& errors, bool weighted) {
  const double root = weighted ? errors.WeightedRelativeRmse() : errors.RelativeRmse();
  return root * root;
}

class Selector {
 public:
  Selector(const ModelSource& source, const OutputModel& model, const PlanOptions& options,
           const SizeTarget& target)
      : source_(source), model_(model), options_(options), target_(target) {
    if (options.recipe.pure) {
      throw Error(ErrorCode::kUsage, {{}, {}, "--pure"},
                  "a size target gives tensors different types; leave one of the two out");
    }
    input_ = InputOfQuantizer(model, options);
    facts_ = quant::FactsFrom(model.metadata);
    quant::RecipeOptions recipe = options.recipe;
    recipe.has_imatrix = options.imatrix != nullptr;
    // Any file type will do that quantizes all it may: what it decides by its rules is dropped.
    selection_.choices =
        quant::ChooseTypes(*quant::FindFileType("Q8_0"), facts_, input_.tensors, recipe);
  }

  TypeSelection Select(const TypeTrialOptions& trials) {
    FindBudget();
    Measure(trials);
    const std::vector<BudgetItem> items = Items();
    const auto chosen = quant::ChooseWithin(items, budget_);
    if (!chosen) throw Impossible(items);
    uint64_t used = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      used += items[i][(*chosen)[i]].bytes;
      if (!selection_.choices[i].fixed) Set(i, possible_[i][(*chosen)[i]]);
    }
    std::vector<RecipeTensor> written = input_.tensors;
    for (size_t i = 0; i < written.size(); ++i) written[i].type = selection_.choices[i].type;
    selection_.file_type = quant::DominantFileType(written);
    selection_.type_name = fmt::format("{:.2f}bpw", Bits(TensorBytesOf(written)));
    AddNotes(used, items);
    return std::move(selection_);
  }

 private:
  bool IsFileTarget() const { return std::holds_alternative<FileBytes>(target_); }

  double Bits(uint64_t bytes) const {
    return weights_ > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights_) : 0;
  }

  static uint64_t TensorBytesOf(std::span<const RecipeTensor> tensors) {
    uint64_t bytes = 0;
    for (const RecipeTensor& tensor : tensors) bytes += *TensorBytes(tensor.type, tensor.shape);
    return bytes;
  }

  // The header has the same size whatever the types are; a plan of any types shows it, and finds
  // everything that makes a plan impossible before anything is measured.
  void FindBudget() {
    PlanOptions options = options_;
    selection_.type_name = "size target";
    options.selection = &selection_;
    const WritePlan plan = MakePlan(model_, options);
    // Of split output: how many shards there will be depends on the types, by a header or two.
    for (const PlannedFile& file : plan.files) header_bytes_ += file.header.size();
    alignment_ = formats::gguf::DataAlignment(plan.metadata, {});
    for (const PlannedTensor& planned : plan.tensors) {
      const Expression& value = model_.tensors[planned.tensor].value;
      weights_ += value.rows() * value.columns();
    }
    if (const auto* file = std::get_if<FileBytes>(&target_)) {
      budget_ = file->bytes > header_bytes_ ? file->bytes - header_bytes_ : 0;
    } else {
      const double bytes =
          std::get<BitsPerWeight>(target_).bits * static_cast<double>(weights_) / 8;
      // Beyond any file; the comparison keeps the conversion defined.
      budget_ = bytes < 1e18 ? static_cast<uint64_t>(bytes) : uint64_t{1} << 62;
    }
  }

  void Measure(const TypeTrialOptions& options) {
    std::vector<TypeTrial> trials;
    std::vector<size_t> tensors;  // by trial
    possible_.resize(input_.tensors.size());
    for (size_t i = 0; i < input_.tensors.size(); ++i) {
      if (selection_.choices[i].fixed) continue;
      TypeTrial trial = TrialOf(i);
      for (const TensorType type : PossibleTypes(input_.tensors[i], !trial.importance.empty())) {
        possible_[i].push_back({type});
        if (type != trial.tensor->value.type) trial.types.push_back(type);
      }
      if (possible_[i].size() < 2) continue;  // nothing to choose
      trials.push_back(std::move(trial));
      tensors.push_back(i);
    }
    const auto errors = TryTypes(source_, trials, options);
    for (size_t t = 0; t < trials.size(); ++t) {
      auto& possible = possible_[tensors[t]];
      for (size_t k = 0; k < errors[t].size(); ++k) {
        const auto option = std::find_if(possible.begin(), possible.end(), [&](const Option& o) {
          return o.type == trials[t].types[k];
        });
        option->relative_squared_error =
            RelativeSquaredError(errors[t][k], !trials[t].importance.empty());
        option->measured = errors[t][k].count > 0 && std::isfinite(option->relative_squared_error);
      }
      // Not measured: all rows tried had NaN or infinity, or decode to it. What is stored stays.
      possible.erase(std::remove_if(possible.begin() + 1, possible.end(),
                                    [](const Option& option) { return !option.measured; }),
                     possible.end());
    }
  }

  TypeTrial TrialOf(size_t i) const {
    const RecipeTensor& stored = input_.tensors[i];
    quant::RequireQuantizable(stored, options_.recipe);
    TypeTrial trial;
    trial.tensor = &model_.tensors[input_.order[i]];
    if (options_.imatrix) {
      trial.importance = quant::ImportanceOf(*options_.imatrix, stored, selection_.choices[i]);
    }
    trial.via = RoundingBefore(trial.tensor->value.type, stored.type);
    return trial;
  }

  // A fixed tensor is an item with one candidate.
  std::vector<BudgetItem> Items() const {
    const std::vector<double> sensitivities = quant::Sensitivities(facts_, input_.tensors);
    std::vector<BudgetItem> items(input_.tensors.size());
    for (size_t i = 0; i < items.size(); ++i) {
      const TypeChoice& choice = selection_.choices[i];
      if (choice.fixed) items[i].push_back({StoredBytes(i, choice.type), 0});
      for (const Option& option : possible_[i]) {
        items[i].push_back(
            {StoredBytes(i, option.type), sensitivities[i] * option.relative_squared_error});
      }
    }
    return items;
  }

  uint64_t StoredBytes(size_t i, TensorType type) const {
    const uint64_t bytes = *TensorBytes(type, input_.tensors[i].shape);
    if (!IsFileTarget()) return bytes;
    return (bytes + alignment_ - 1) / alignment_ * alignment_;
  }

  void Set(size_t i, const Option& option) {
    const TensorTypeInfo& info = Info(option.type);
    const double bits = 8.0 * info.block_bytes / info.block_elements;
    selection_.choices[i] = {.type = option.type,
                             .reason = fmt::format("size target: {:.4g} bpw, error {:.2g} %", bits,
                                                   100 * std::sqrt(option.relative_squared_error))};
  }

  std::string Describe(uint64_t bytes) const {
    return IsFileTarget() ? fmt::format("{} bytes", header_bytes_ + bytes)
                          : fmt::format("{:.4f} bits per weight", Bits(bytes));
  }

  Error Impossible(std::span<const BudgetItem> items) const {
    return Error(ErrorCode::kUsage, {{}, {}, IsFileTarget() ? "--target-size" : "--target-bpw"},
                 fmt::format("the model cannot become that small; the smallest reachable size is "
                             "{}, the largest {}",
                             Describe(quant::SmallestBytes(items)),
                             Describe(quant::LargestUsefulBytes(items))));
  }

  void AddNotes(uint64_t used, std::span<const BudgetItem> items) {
    selection_.notes.push_back(fmt::format("size target: {}, {:.2f} % below the target",
                                           Describe(used), 100 - 100 * Share(used)));
    if (Share(used) > 0.99) return;
    selection_.notes.push_back(
        used == quant::LargestUsefulBytes(items)
            ? "every tensor has the best type there is; a larger file would be no better"
            : "no better combination of types is closer to the target: the model has few tensors");
  }

  // Of the target, as the user gave it.
  double Share(uint64_t used) const {
    const uint64_t beside = IsFileTarget() ? header_bytes_ : 0;
    return static_cast<double>(used + beside) / static_cast<double>(budget_ + beside);
  }

  const ModelSource& source_;
  const OutputModel& model_;
  const PlanOptions& options_;
  const SizeTarget& target_;
  QuantizerInput input_;
  quant::ModelFacts facts_;
  TypeSelection selection_;
  std::vector<std::vector<Option>> possible_;  // by tensor; empty for fixed ones
  uint64_t header_bytes_ = 0, alignment_ = 1, weights_ = 0, budget_ = 0;
};

}  // namespace

TypeSelection SelectTypes(const ModelSource& source, const OutputModel& model,
                          const PlanOptions& options, const SizeTarget& target,
                          const TypeTrialOptions& trials) {
  return Selector(source, model, options, target).Select(trials);
}

}  // namespace quern::converters
