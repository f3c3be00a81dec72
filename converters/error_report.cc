#include "converters/error_report.h"

#include <cmath>
#include <optional>
#include <utility>

#include "quant/codec.h"

namespace quern::converters {
namespace {

using quant::ErrorStatistics;

double BitsPerWeight(uint64_t bytes, uint64_t weights) {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0;
}

}  // namespace

Json ErrorsToJson(const ErrorStatistics& errors, bool weighted) {
  Json json = {{"rmse", errors.Rmse()},
               {"relative_rmse", errors.RelativeRmse()},
               {"cosine", errors.Cosine()},
               {"max_error", errors.largest_error}};
  if (weighted) json["weighted_relative_rmse"] = errors.WeightedRelativeRmse();
  return json;
}

// A block's index counts the blocks of the tensor, row by row.
Json WorstToJson(const quant::WorstBlock& worst, uint64_t block, uint64_t columns) {
  const uint64_t blocks_per_row = (columns + block - 1) / block;
  return {{"index", worst.row * blocks_per_row + worst.column / block},
          {"row", worst.row},
          {"columns", {worst.column, worst.column + worst.columns}},
          {"rmse", std::sqrt(worst.mean_square)}};
}

void SlabErrors::Start(uint64_t first_row) {
  first_row_ = first_row;
  rows_.clear();
}

void SlabErrors::Measure(std::span<const float> weights, TensorType type, const uint8_t* blocks,
                         uint64_t columns, const float* importance) {
  decoded_.resize(weights.size());
  quant::FindCodec(type)->dequantize(blocks, decoded_.data(), decoded_.size());
  const std::span<const float> decoded(decoded_);
  const uint64_t block = quant::ErrorBlock(type);
  for (uint64_t first = 0; first < weights.size(); first += columns) {
    rows_.push_back(
        quant::MeasureRow(weights.subspan(first, columns), decoded.subspan(first, columns),
                          importance ? std::span(importance, columns) : std::span<const float>(),
                          block, first_row_ + rows_.size()));
  }
}

ErrorReport::ErrorReport(const OutputModel& model, std::vector<const WritePlan*> plans)
    : model_(model), plans_(std::move(plans)), rows_(plans_.size()) {
  for (auto& tensors : rows_) tensors.resize(model.tensors.size());
}

void ErrorReport::Add(size_t plan, size_t tensor, const SlabErrors& errors) {
  const std::lock_guard lock(mutex_);
  Rows& rows = rows_[plan][tensor];
  rows.waiting.emplace(errors.first_row(), errors.rows());
  while (!rows.waiting.empty() && rows.waiting.begin()->first == rows.next) {
    const auto first = rows.waiting.begin();
    for (const ErrorStatistics& row : first->second) rows.sum.Add(row);
    rows.next += first->second.size();
    rows.waiting.erase(first);
  }
}

const ErrorStatistics* ErrorReport::Of(size_t plan, size_t tensor) const {
  const Rows& rows = rows_[plan][tensor];
  return rows.next > 0 && rows.next == model_.tensors[tensor].value.rows() ? &rows.sum : nullptr;
}

Json ErrorReport::ToJson(size_t plan) const {
  Json tensors = Json::array();
  ErrorStatistics total;
  uint64_t bytes = 0, weights = 0;
  bool any_weighted = false;
  for (const PlannedTensor& planned : plans_[plan]->tensors) {
    const OutputTensor& tensor = model_.tensors[planned.tensor];
    const uint64_t count = tensor.value.rows() * tensor.value.columns();
    Json entry = {{"name", tensor.name},
                  {"type", Name(planned.type)},
                  {"source_type", Name(tensor.value.type)},
                  {"shape", planned.shape},
                  {"weights", count},
                  {"bytes", planned.bytes},
                  {"bits_per_weight", BitsPerWeight(planned.bytes, count)}};
    bytes += planned.bytes;
    weights += count;
    if (const ErrorStatistics* errors = Of(plan, planned.tensor)) {
      const bool weighted = !planned.importance.empty();
      entry.update(ErrorsToJson(*errors, weighted));
      entry["worst_block"] =
          WorstToJson(errors->worst, quant::ErrorBlock(planned.type), tensor.value.columns());
      any_weighted |= weighted;
      total.Add(*errors);
    } else {
      entry["copied"] = true;
    }
    tensors.push_back(std::move(entry));
  }
  Json totals = {{"tensors", tensors.size()},
                 {"weights", weights},
                 {"bytes", bytes},
                 {"bits_per_weight", BitsPerWeight(bytes, weights)},
                 {"measured_weights", total.count}};
  totals.update(ErrorsToJson(total, any_weighted));
  return {{"type", plans_[plan]->type_name},
          {"file_bytes", plans_[plan]->file_bytes},
          {"tensors", std::move(tensors)},
          {"totals", std::move(totals)}};
}

ErrorStatistics RequantizationErrors(const OutputModel& model, const ErrorReport& report,
                                     size_t plan) {
  ErrorStatistics total;
  for (const PlannedTensor& planned : report.plan(plan).tensors) {
    if (!IsRequantized(model, planned)) continue;
    if (const ErrorStatistics* errors = report.Of(plan, planned.tensor)) total.Add(*errors);
  }
  return total;
}

}  // namespace quern::converters
