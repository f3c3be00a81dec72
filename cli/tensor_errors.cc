#include "cli/tensor_errors.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "converters/error_report.h"

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
  json["nan"] = {error.a.nan, error.b.nan};
  json["infinite"] = {error.a.infinite, error.b.infinite};
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
    const quant::WorstBlock& worst = errors.worst;
    text += fmt::format("  worst block [{}, {}..{}] RMSE {:.4g}", worst.row, worst.column,
                        worst.column + worst.columns - 1, std::sqrt(worst.mean_square));
  }
  if (!error.largest && error.first) {
    text += fmt::format("  first at [{}, {}] ({}, {})", error.first->row, error.first->column,
                        error.first->a, error.first->b);
  }
  Append(text, "A", error.a);
  Append(text, "B", error.b);
  return text;
}

}  // namespace quern::cli
