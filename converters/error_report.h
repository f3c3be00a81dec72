// What quantizing has cost, measured while a plan runs: `--report FILE.json`.
//
// Each tile's blocks are decoded again and compared with the source's weights in f32, as they were
// before any rounding (PlannedTensor::via included). Rows are added up in order, so the figures
// depend on the source and the plan alone. Costs nothing where no report is asked for.
// The form of the file: docs/json.md.
#ifndef QUERN_CONVERTERS_ERROR_REPORT_H_
#define QUERN_CONVERTERS_ERROR_REPORT_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "converters/output_model.h"
#include "converters/plan.h"
#include "formats/core/json.h"
#include "quant/error_statistics.h"

namespace quern::converters {

// A thread's measurements of the rows of one slab, tile by tile.
class SlabErrors {
 public:
  void Start(uint64_t first_row);
  // Measures the next tile. `importance` is null or one value per column.
  void Measure(std::span<const float> weights, TensorType type, const uint8_t* blocks,
               uint64_t columns, const float* importance);

  uint64_t first_row() const { return first_row_; }
  const std::vector<quant::ErrorStatistics>& rows() const { return rows_; }

 private:
  uint64_t first_row_ = 0;
  std::vector<quant::ErrorStatistics> rows_;
  std::vector<float> decoded_;
};

// The figures and the worst block as every report prints them (docs/json.md). `block` and `columns`
// are the weights of a block and of a row.
Json ErrorsToJson(const quant::ErrorStatistics& errors, bool weighted);
Json WorstToJson(const quant::WorstBlock& worst, uint64_t block, uint64_t columns);

class ErrorReport {
 public:
  // One list of tensors per plan, all of the same model. Both outlive the report.
  ErrorReport(const OutputModel& model, std::vector<const WritePlan*> plans);

  // Adds the rows of one slab of OutputModel::tensors[tensor], written by plan `plan`. In any
  // order, each row once. Thread-safe.
  void Add(size_t plan, size_t tensor, const SlabErrors& errors);

  // Of the tensors that were encoded: those that another type was made of. Null for tensors that
  // were copied, and before all of their rows were added.
  const quant::ErrorStatistics* Of(size_t plan, size_t tensor) const;

  const WritePlan& plan(size_t index) const { return *plans_[index]; }

  // All tensors of one plan, and totals.
  Json ToJson(size_t plan) const;

 private:
  // Rows are added up in order; those that came too early wait.
  struct Rows {
    quant::ErrorStatistics sum;
    uint64_t next = 0;
    std::map<uint64_t, std::vector<quant::ErrorStatistics>> waiting;
  };

  const OutputModel& model_;
  std::vector<const WritePlan*> plans_;
  std::mutex mutex_;
  std::vector<std::vector<Rows>> rows_;  // by plan and tensor
};

// Of all tensors of plan `plan` that were quantized in the source and have been quantized again.
quant::ErrorStatistics RequantizationErrors(const OutputModel& model, const ErrorReport& report,
                                            size_t plan);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_ERROR_REPORT_H_
