#include "converters/executor.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "converters/outputs.h"
#include "formats/core/error.h"
#include "quant/codec.h"
#include "quant/finite.h"

namespace quern::converters {
namespace {

// Weights that are decoded and quantized at a time: their f32 form stays in the L2 cache.
constexpr uint64_t kTileWeights = 32 << 10;
constexpr uint64_t kMaxSlabWeights = 2 << 20;
constexpr uint64_t kMinSlabWeights = 64 << 10;

// Rows of one tensor that one thread handles at a time.
struct Slab {
  size_t tensor;
  uint64_t first;
  uint64_t rows;
};

// A thread's buffers.
struct Scratch {
  std::vector<uint8_t> source;
  std::vector<float> weights;
  std::vector<uint8_t> half;
  std::vector<uint8_t> blocks;
  SlabErrors errors;
};

// Bytes per weight that a slab costs: source, blocks of the widest output, transform scratch.
constexpr uint64_t kSlabBytesPerWeight = 4 + 4 + 4;

uint64_t SlabWeights(const ExecuteOptions& options, int threads) {
  const uint64_t memory = options.memory ? options.memory : kDefaultSlabMemory;
  const uint64_t weights = memory / static_cast<uint64_t>(threads) / kSlabBytesPerWeight;
  return std::clamp(weights, kMinSlabWeights, kMaxSlabWeights);
}

std::vector<Slab> CutIntoSlabs(const OutputModel& model, uint64_t slab_weights) {
  std::vector<Slab> slabs;
  for (size_t t = 0; t < model.tensors.size(); ++t) {
    const Expression& value = model.tensors[t].value;
    if (value.rows() == 0 || value.columns() == 0) continue;
    const uint64_t granularity = RowGranularity(value);
    const uint64_t whole = std::max<uint64_t>(slab_weights / value.columns(), 1);
    const uint64_t step = std::max(whole / granularity, uint64_t{1}) * granularity;
    for (uint64_t first = 0; first < value.rows(); first += step) {
      slabs.push_back({t, first, std::min(step, value.rows() - first)});
    }
  }
  return slabs;
}

// Rows of one matrix of a tensor that may be a stack of them (experts), which share importance.
uint64_t MatrixRows(const Shape& shape) {
  return shape.size() < 2 ? 1 : std::max<uint64_t>(shape[shape.size() - 2], 1);
}

int Threads(const ExecuteOptions& options) {
  return options.threads > 0 ? options.threads : omp_get_max_threads();
}

class Run {
 public:
  Run(const ModelSource& source, const OutputModel& model, std::span<const Job> jobs,
      const ExecuteOptions& options)
      : source_(source),
        model_(model),
        jobs_(jobs),
        options_(options),
        outputs_(source, model, jobs, options, Threads(options)) {
    if (options.note && !outputs_.note().empty()) options.note(outputs_.note());
    for (const OutputTensor& tensor : model.tensors) {
      progress_.total += tensor.value.rows() * tensor.value.columns();
    }
  }

  void WriteTensors() {
    const int threads = Threads(options_);
    slabs_ = CutIntoSlabs(model_, SlabWeights(options_, threads));
    std::erase_if(slabs_, [this](const Slab& slab) { return IsDone(slab); });
    const auto count = static_cast<int64_t>(slabs_.size());
#pragma omp parallel num_threads(threads)
    {
      Scratch scratch;
#pragma omp for schedule(dynamic, 1)
      for (int64_t i = 0; i < count; ++i) {
        if (failed_slab_.load(std::memory_order_relaxed) < i) continue;
        try {  // an exception must not leave the parallel region
          const auto ahead = static_cast<size_t>(i + 2 * threads);
          if (ahead < slabs_.size()) PrefetchSlab(slabs_[ahead]);
          WriteSlab(slabs_[i], scratch);
          Report(slabs_[i]);
        } catch (...) {
          KeepFirst(i, std::current_exception());
        }
      }
    }
    if (error_) std::rethrow_exception(error_);
  }

  void NoteNonFinite() const {
    if (nonfinite_.empty() || !options_.note) return;
    options_.note(
        fmt::format("{} tensors have weights that are NaN or infinite, the first of them "
                    "{}; what became of their blocks is not defined",
                    nonfinite_.size(), Printable(model_.tensors[*nonfinite_.begin()].name)));
  }

  void Commit() { outputs_.Commit(options_); }

 private:
  // By an earlier run, for every file.
  bool IsDone(const Slab& slab) {
    if (options_.errors) return false;  // to be measured again
    const auto targets = outputs_.TargetsOf(slab.tensor);
    const bool done = std::all_of(targets.begin(), targets.end(), [&](const Target& target) {
      return target.Holds(slab.first, slab.rows);
    });
    if (done) progress_.done += slab.rows * model_.tensors[slab.tensor].value.columns();
    return done;
  }

  void PrefetchSlab(const Slab& slab) const {
    Prefetch(source_, model_.tensors[slab.tensor].value, slab.first, slab.rows);
  }

  void WriteSlab(const Slab& slab, Scratch& scratch) {
    const OutputTensor& tensor = model_.tensors[slab.tensor];
    const uint64_t columns = tensor.value.columns();
    const uint64_t row_bytes = *RowBytes(tensor.value.type, columns);
    scratch.source.resize(slab.rows * row_bytes);
    EvaluateRows(source_, tensor.value, slab.first, slab.rows, scratch.source);
    for (const Target& target : outputs_.TargetsOf(slab.tensor)) {
      if (target.Holds(slab.first, slab.rows) && !options_.errors) continue;
      std::span<const uint8_t> bytes = scratch.source;
      if (target.planned().type != tensor.value.type) {
        scratch.blocks.resize(slab.rows * target.row_bytes());
        scratch.errors.Start(slab.first);
        Encode(tensor, slab, target.planned(), scratch);
        if (options_.errors) {
          const auto job = static_cast<size_t>(&target.job() - jobs_.data());
          options_.errors->Add(job, slab.tensor, scratch.errors);
        }
        bytes = scratch.blocks;
      }
      target.Write(slab.first, slab.rows, bytes);
    }
  }

  // scratch.source -> scratch.blocks, tile by tile.
  void Encode(const OutputTensor& tensor, const Slab& slab, const PlannedTensor& planned,
              Scratch& scratch) {
    const uint64_t columns = tensor.value.columns();
    const uint64_t source_row = *RowBytes(tensor.value.type, columns);
    const uint64_t block_row = *RowBytes(planned.type, columns);
    const quant::Codec& decoder = *quant::FindCodec(tensor.value.type);
    const quant::Codec& encoder = *quant::FindCodec(planned.type);
    if (encoder.set_up != nullptr) encoder.set_up();
    const uint64_t tile_rows = std::clamp<uint64_t>(kTileWeights / columns, 1, slab.rows);
    const uint64_t matrix_rows = MatrixRows(tensor.value.shape);
    scratch.weights.resize(tile_rows * columns);
    for (uint64_t row = 0, rows = 0; row < slab.rows; row += rows) {
      const uint64_t matrix_row = (slab.first + row) % matrix_rows;
      rows = std::min({tile_rows, slab.rows - row, matrix_rows - matrix_row});
      const std::span<float> weights(scratch.weights.data(), rows * columns);
      decoder.dequantize(scratch.source.data() + row * source_row, weights.data(), weights.size());
      RequireFinite(weights, slab, (slab.first + row) * columns, tensor.value.type);
      if (planned.via) {
        if (options_.errors) scratch.errors.KeepOriginal(weights);
        RoundTo(*planned.via, weights, scratch);
        RequireFinite(weights, slab, (slab.first + row) * columns, *planned.via);
      }
      const float* importance = nullptr;
      if (!planned.importance.empty()) {
        importance = planned.importance.data() + (slab.first + row) / matrix_rows * columns;
      }
      uint8_t* blocks = scratch.blocks.data() + row * block_row;
      encoder.quantize(weights.data(), blocks, rows, columns, importance);
      if (options_.errors) {
        scratch.errors.Measure(weights, planned.type, blocks, columns, importance);
      }
      if (planned.type == TensorType::kF16 && tensor.value.type != TensorType::kF16) {
        RequireFitsF16(weights, slab, (slab.first + row) * columns);
      }
    }
  }

  static void RoundTo(TensorType via, std::span<float> weights, Scratch& scratch) {
    const quant::Codec& codec = *quant::FindCodec(via);
    scratch.half.resize(*RowBytes(via, weights.size()));
    codec.quantize(weights.data(), scratch.half.data(), 1, weights.size(), nullptr);
    codec.dequantize(scratch.half.data(), weights.data(), weights.size());
  }

  void RequireFinite(std::span<const float> weights, const Slab& slab, uint64_t first,
                     TensorType type) {
    if (const auto at = quant::FirstNonFinite(weights)) {
      Found(slab, fmt::format("weight {} is not a finite number in {}; the model is damaged or "
                              "needs a wider type (--allow-nonfinite goes on)",
                              first + *at, Name(type)));
    }
  }

  void RequireFitsF16(std::span<const float> weights, const Slab& slab, uint64_t first) {
    constexpr float kLimit = 65520.0f;  // rounds to infinity in F16
    const auto at = std::find_if(weights.begin(), weights.end(), [](float weight) {
      return weight >= kLimit || weight <= -kLimit;
    });
    if (at == weights.end()) return;
    Found(slab, fmt::format("weight {} is {} and does not fit F16; use BF16 or F32",
                            first + static_cast<uint64_t>(at - weights.begin()), *at));
  }

  // A weight that is or becomes NaN or infinite.
  void Found(const Slab& slab, const std::string& what) {
    if (!options_.allow_nonfinite) {
      throw Error(ErrorCode::kNonFinite, {{}, {}, model_.tensors[slab.tensor].name}, what);
    }
    const std::lock_guard lock(mutex_);
    nonfinite_.insert(slab.tensor);
  }

  void Report(const Slab& slab) {
    if (!options_.progress) return;
    const OutputTensor& tensor = model_.tensors[slab.tensor];
    const std::lock_guard lock(mutex_);
    progress_.done += slab.rows * tensor.value.columns();
    progress_.tensor = tensor.name;
    options_.progress(progress_);
  }

  // Of several errors the one of the lowest slab is reported, whatever the threads' timing.
  void KeepFirst(int64_t slab, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (slab >= failed_slab_.load()) return;
    failed_slab_.store(slab);
    error_ = error;
  }

  const ModelSource& source_;
  const OutputModel& model_;
  std::span<const Job> jobs_;
  const ExecuteOptions& options_;
  Outputs outputs_;
  std::vector<Slab> slabs_;
  std::mutex mutex_;
  std::set<size_t> nonfinite_;  // tensors in which such weights were found and allowed
  Progress progress_;
  std::atomic<int64_t> failed_slab_{INT64_MAX};
  std::exception_ptr error_;
};

}  // namespace

uint64_t ExecuteMemory(const OutputModel& model, std::span<const Job> jobs,
                       const ExecuteOptions& options) {
  const int threads = Threads(options);
  uint64_t widest_row = 0;
  for (const OutputTensor& tensor : model.tensors) {
    widest_row = std::max(widest_row, tensor.value.columns());
  }
  const uint64_t weights = std::max(SlabWeights(options, threads), widest_row);
  uint64_t headers = 0;
  for (const Job& job : jobs) {
    for (const PlannedFile& file : job.plan->files) headers += file.header.size();
  }
  return headers + static_cast<uint64_t>(threads) *
                       (weights * kSlabBytesPerWeight + kTileWeights * 2 * sizeof(float));
}

void Execute(const ModelSource& source, const OutputModel& model, std::span<const Job> jobs,
             const ExecuteOptions& options) {
  Run run(source, model, jobs, options);
  run.WriteTensors();
  run.Commit();
  run.NoteNonFinite();
}

}  // namespace quern::converters
