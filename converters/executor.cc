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
#include "converters/slab_encoder.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

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
  SlabEncoder encoder;
  std::vector<uint8_t> source;
  std::vector<Encoding> encodings;  // for the first of `targets`, in their order
  std::vector<const Target*> targets;
};

// Bytes per weight that a slab costs: source, transform scratch, the widest blocks of each output.
uint64_t SlabBytesPerWeight(size_t jobs) { return 4 + 4 + 4 * jobs; }

uint64_t SlabWeights(const ExecuteOptions& options, int threads, size_t jobs) {
  const uint64_t memory = options.memory ? options.memory : kDefaultSlabMemory;
  const uint64_t weights = memory / static_cast<uint64_t>(threads) / SlabBytesPerWeight(jobs);
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
    slabs_ = CutIntoSlabs(model_, SlabWeights(options_, threads, jobs_.size()));
    std::erase_if(slabs_, [this](const Slab& slab) { return IsDone(slab); });
    const auto count = static_cast<int64_t>(slabs_.size());
#pragma omp parallel num_threads(threads)
    {
      Scratch scratch{.encoder = SlabEncoder(options_.errors != nullptr)};
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
    scratch.source.resize(slab.rows * *RowBytes(tensor.value.type, tensor.value.columns()));
    EvaluateRows(source_, tensor.value, slab.first, slab.rows, scratch.source);
    scratch.targets.clear();
    for (const Target& target : outputs_.TargetsOf(slab.tensor)) {
      if (target.Holds(slab.first, slab.rows) && !options_.errors) continue;
      if (target.planned().type == tensor.value.type) {
        target.Write(slab.first, slab.rows, scratch.source);
      } else {
        scratch.targets.push_back(&target);
      }
    }
    if (!scratch.targets.empty()) EncodeSlab(slab, scratch);
  }

  // For scratch.targets.
  void EncodeSlab(const Slab& slab, Scratch& scratch) {
    const size_t count = scratch.targets.size();
    if (scratch.encodings.size() < count) scratch.encodings.resize(count);
    for (size_t i = 0; i < count; ++i) {
      scratch.encodings[i].planned = &scratch.targets[i]->planned();
    }
    scratch.encoder.Encode(model_.tensors[slab.tensor], slab.first, slab.rows, scratch.source,
                           std::span(scratch.encodings).first(count),
                           [&](const std::string& what) { Found(slab, what); });
    for (size_t i = 0; i < count; ++i) {
      const Target& target = *scratch.targets[i];
      if (options_.errors) {
        const auto job = static_cast<size_t>(&target.job() - jobs_.data());
        options_.errors->Add(job, slab.tensor, scratch.encodings[i].errors);
      }
      target.Write(slab.first, slab.rows, scratch.encodings[i].blocks);
    }
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
  const uint64_t weights = std::max(SlabWeights(options, threads, jobs.size()), widest_row);
  uint64_t headers = 0;
  for (const Job& job : jobs) {
    for (const PlannedFile& file : job.plan->files) headers += file.header.size();
  }
  return headers + static_cast<uint64_t>(threads) *
                       (weights * SlabBytesPerWeight(jobs.size()) + SlabEncoder::ScratchBytes());
}

void Execute(const ModelSource& source, const OutputModel& model, std::span<const Job> jobs,
             const ExecuteOptions& options) {
  Run run(source, model, jobs, options);
  run.WriteTensors();
  run.Commit();
  run.NoteNonFinite();
}

}  // namespace quern::converters
