#include "converters/type_trials.h"

#include <algorithm>
#include <mutex>

#include "converters/parallel.h"
#include "quant/codec.h"
#include "quant/finite.h"

namespace quern::converters {
namespace {

using quant::ErrorStatistics;

// A sample has a 64th of a tensor's rows, but no fewer weights than kMinSample and no more than
// kMaxSample. Measured on 307M weights: all types together take about as long as one Q4_K_M file.
constexpr uint64_t kSampleFraction = 64;
constexpr uint64_t kMinSample = 64 << 10;
constexpr uint64_t kMaxSample = 1 << 20;
// Rows are taken in runs, since a row of a transposed tensor costs as much to read as a few.
constexpr uint64_t kRunRows = 8;
// Types that search a grid are several times slower than the others (docs/performance.md). They try
// one row of each run, or all rows of a tensor that is no larger than the least sample.
bool IsSlow(TensorType type) { return quant::FindCodec(type)->set_up != nullptr; }

struct SampleRun {
  size_t trial;
  uint64_t first;
  uint64_t rows;
};

// Runs at equal distances; the whole tensor where that is no more than the sample.
void AddRuns(size_t trial, const Expression& value, std::vector<SampleRun>& runs) {
  const uint64_t rows = value.rows(), columns = value.columns();
  if (rows == 0 || columns == 0) return;
  const uint64_t least = (kMinSample + columns - 1) / columns;
  const uint64_t most = std::max<uint64_t>(kMaxSample / columns, 1);
  const uint64_t sample = std::max(std::min(rows / kSampleFraction, most), least);
  const uint64_t all = (rows + kRunRows - 1) / kRunRows;
  const uint64_t count = std::min((sample + kRunRows - 1) / kRunRows, all);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t first = (2 * i + 1) * all / (2 * count) * kRunRows;
    runs.push_back({trial, first, std::min(kRunRows, rows - first)});
  }
}

// A thread's buffers.
struct Scratch {
  std::vector<uint8_t> source, half, blocks;
  std::vector<float> original, weights, decoded;
};

class Trials {
 public:
  Trials(const ModelSource& source, std::span<const TypeTrial> trials,
         const TypeTrialOptions& options)
      : source_(source), trials_(trials), options_(options) {
    for (size_t t = 0; t < trials.size(); ++t) AddRuns(t, trials[t].tensor->value, runs_);
    for (const SampleRun& run : runs_) progress_.total += Weights(run);
    results_.resize(runs_.size());
  }

  std::vector<std::vector<ErrorStatistics>> Run() {
    ForEachInParallel<Scratch>(static_cast<int64_t>(runs_.size()), options_.threads,
                               [this](int64_t i, Scratch& scratch) {
                                 TryRun(static_cast<size_t>(i), scratch);
                                 Report(runs_[static_cast<size_t>(i)]);
                               });
    std::vector<std::vector<ErrorStatistics>> sums(trials_.size());
    for (size_t t = 0; t < trials_.size(); ++t) sums[t].resize(trials_[t].types.size());
    for (size_t i = 0; i < runs_.size(); ++i) {  // in order, whoever measured
      auto& sum = sums[runs_[i].trial];
      for (size_t k = 0; k < sum.size(); ++k) sum[k].Add(results_[i][k]);
    }
    return sums;
  }

 private:
  uint64_t Weights(const SampleRun& run) const {
    return run.rows * trials_[run.trial].tensor->value.columns();
  }

  void TryRun(size_t index, Scratch& scratch) {
    const SampleRun& run = runs_[index];
    const TypeTrial& trial = trials_[run.trial];
    results_[index].resize(trial.types.size());
    Read(trial, run, scratch);
    const uint64_t columns = trial.tensor->value.columns();
    const Shape& shape = trial.tensor->value.shape;
    const uint64_t matrix_rows = shape.size() < 2 ? 1 : shape[shape.size() - 2];
    const bool is_small = trial.tensor->value.rows() * columns <= kMinSample;
    for (uint64_t row = 0; row < run.rows; ++row) {
      const std::span weights(scratch.weights.data() + row * columns, columns);
      if (quant::FirstNonFinite(weights)) continue;
      std::span<const float> importance;
      if (!trial.importance.empty()) {
        importance = trial.importance.subspan((run.first + row) / matrix_rows * columns, columns);
      }
      const std::span original(scratch.original.data() + row * columns, columns);
      for (size_t k = 0; k < trial.types.size(); ++k) {
        if (row > 0 && !is_small && IsSlow(trial.types[k])) continue;
        results_[index][k].Add(TryRow(trial.types[k], original, weights, importance, scratch));
      }
    }
  }

  // Fills scratch.original, and scratch.weights with what would be quantized.
  void Read(const TypeTrial& trial, const SampleRun& run, Scratch& scratch) const {
    const Expression& value = trial.tensor->value;
    scratch.source.resize(run.rows * *RowBytes(value.type, value.columns()));
    EvaluateRows(source_, value, run.first, run.rows, scratch.source);
    scratch.original.resize(run.rows * value.columns());
    quant::FindCodec(value.type)
        ->dequantize(scratch.source.data(), scratch.original.data(), scratch.original.size());
    scratch.weights = scratch.original;
    if (!trial.via) return;
    const quant::Codec& via = *quant::FindCodec(*trial.via);
    scratch.half.resize(*RowBytes(*trial.via, scratch.weights.size()));
    via.quantize(scratch.weights.data(), scratch.half.data(), 1, scratch.weights.size(), nullptr);
    via.dequantize(scratch.half.data(), scratch.weights.data(), scratch.weights.size());
  }

  static ErrorStatistics TryRow(TensorType type, std::span<const float> original,
                                std::span<const float> weights, std::span<const float> importance,
                                Scratch& scratch) {
    const quant::Codec& codec = *quant::FindCodec(type);
    scratch.blocks.resize(*RowBytes(type, weights.size()));
    scratch.decoded.resize(weights.size());
    if (codec.set_up != nullptr) codec.set_up();
    codec.quantize(weights.data(), scratch.blocks.data(), 1, weights.size(),
                   importance.empty() ? nullptr : importance.data());
    codec.dequantize(scratch.blocks.data(), scratch.decoded.data(), weights.size());
    return quant::MeasureRow(original, scratch.decoded, importance, quant::ErrorBlock(type), 0);
  }

  void Report(const SampleRun& run) {
    if (!options_.progress) return;
    const std::lock_guard lock(mutex_);
    progress_.done += Weights(run);
    progress_.tensor = trials_[run.trial].tensor->name;
    options_.progress(progress_);
  }

  const ModelSource& source_;
  std::span<const TypeTrial> trials_;
  const TypeTrialOptions& options_;
  std::vector<SampleRun> runs_;
  std::vector<std::vector<ErrorStatistics>> results_;  // by run and type
  std::mutex mutex_;
  Progress progress_;
};

}  // namespace

std::vector<std::vector<ErrorStatistics>> TryTypes(const ModelSource& source,
                                                   std::span<const TypeTrial> trials,
                                                   const TypeTrialOptions& options) {
  return Trials(source, trials, options).Run();
}

}  // namespace quern::converters
