#include "cli/tensor_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "converters/error_report.h"
#include "formats/core/error.h"

namespace quern::cli {
namespace {

// JSON has no NaN and no infinity: they are strings.
Json Number(float value) {
  if (std::isfinite(value)) return value;
  return fmt::format("{}", value);
}

Json DifferenceToJson(const std::optional<verify::WeightDifference>& difference) {
  if (!difference) return nullptr;
  return {{"row", difference->row},
          {"column", difference->column},
          {"a", Number(difference->a)},
          {"b", Number(difference->b)}};
}

void Append(std::string& text, const char* side, const verify::NonFinite& counts) {
  if (counts.nan > 0) text += fmt::format("  {} NaN in {}", counts.nan, side);
  if (counts.infinite > 0) text += fmt::format("  {} infinite in {}", counts.infinite, side);
}

Json TypeToJson(const converters::OutputTensor* tensor) {
  return tensor ? Json(Name(tensor->value.type)) : Json();
}

std::string TypeText(const converters::OutputTensor* tensor) {
  return tensor ? std::string(Name(tensor->value.type)) : "none";
}

std::string WorstText(const quant::WorstBlock& worst) {
  return fmt::format("[{}, {}..{}] RMSE {:.4g}", worst.row, worst.column,
                     worst.column + worst.columns - 1, std::sqrt(worst.mean_square));
}

}  // namespace

Json TensorErrorToJson(const verify::TensorError& error) {
  Json json = converters::ErrorsToJson(error.errors, false);
  json["weights"] = error.weights;
  json["different"] = error.different;
  json["first_difference"] = DifferenceToJson(error.first);
  json["largest_difference"] = DifferenceToJson(error.largest);
  const bool any = error.errors.worst.mean_square > 0;
  json["worst_block"] =
      any ? converters::WorstToJson(error.errors.worst, error.block, error.columns) : Json();
  json["nan"] = {{"a", error.a.nan}, {"b", error.b.nan}};
  json["infinite"] = {{"a", error.a.infinite}, {"b", error.b.infinite}};
  return json;
}

std::string TensorErrorText(const verify::TensorError& error) {
  const quant::ErrorStatistics& errors = error.errors;
  std::string text = fmt::format(
      "{} of {} weights  relative RMSE {:.4g}  RMSE {:.4g}  cosine {:.6f}", error.different,
      error.weights, errors.RelativeRmse(), errors.Rmse(), errors.Cosine());
  if (error.largest) {
    text +=
        fmt::format("  max error {:.4g} at [{}, {}] ({:.6g}, {:.6g})", errors.largest_error,
                    error.largest->row, error.largest->column, error.largest->a, error.largest->b);
    text += "  worst block " + WorstText(errors.worst);
  }
  if (!error.largest && error.first) {
    text += fmt::format("  first at [{}, {}] ({}, {})", error.first->row, error.first->column,
                        error.first->a, error.first->b);
  }
  Append(text, "A", error.a);
  Append(text, "B", error.b);
  return text;
}

Json WeightErrorsToJson(const std::vector<verify::TensorDiff>& tensors) {
  Json list = Json::array();
  for (const verify::TensorDiff& diff : tensors) {
    Json json = {{"name", diff.name()},
                 {"relation", verify::RelationName(diff.relation)},
                 {"reference_type", TypeToJson(diff.a)},
                 {"type", TypeToJson(diff.b)},
                 {"shape", (diff.b ? diff.b : diff.a)->value.shape}};
    if (diff.error) {
      json.update(TensorErrorToJson(*diff.error));
    } else if (diff.relation == verify::TensorRelation::kEqualBytes) {
      json.update(converters::ErrorsToJson({}, false));
    }
    list.push_back(std::move(json));
  }
  return list;
}

std::string WeightErrorsText(const std::vector<verify::TensorDiff>& tensors) {
  std::vector<const verify::TensorDiff*> measured;
  size_t equal = 0;
  std::string others;
  for (const verify::TensorDiff& diff : tensors) {
    if (diff.relation == verify::TensorRelation::kDifferentValues) {
      measured.push_back(&diff);
    } else if (diff.equal()) {
      ++equal;
    } else {
      others +=
          fmt::format("  {:<36} {}\n", Printable(diff.name()), verify::RelationName(diff.relation));
    }
  }
  std::stable_sort(measured.begin(), measured.end(), [](const auto* one, const auto* other) {
    return one->error->errors.RelativeRmse() > other->error->errors.RelativeRmse();
  });
  std::string text =
      fmt::format("  {:<36} {:<14} {:>10} {:>10} {:>9} {:>10}  {}\n", "weights", "types",
                  "rel. RMSE", "RMSE", "cosine", "max error", "worst block");
  for (const verify::TensorDiff* diff : measured) {
    const quant::ErrorStatistics& errors = diff->error->errors;
    text += fmt::format("  {:<36} {:<14} {:>10.6f} {:>10.3e} {:>9.6f} {:>10.3e}  {}\n",
                        Printable(diff->name()), TypeText(diff->a) + " > " + TypeText(diff->b),
                        errors.RelativeRmse(), errors.Rmse(), errors.Cosine(), errors.largest_error,
                        WorstText(errors.worst));
  }
  return text + others + fmt::format("  {} tensors without error\n", equal);
}

}  // namespace quern::cli
