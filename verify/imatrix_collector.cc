#include "verify/imatrix_collector.h"

#include <chrono>
#include <string_view>

#include "verify/reference/forward.h"
#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

using converters::OutputModel;
using converters::OutputTensor;
using formats::imatrix::SumsEntry;

constexpr size_t kColumns = 128;  // that one thread takes at a time

// A stack of experts' matrices, or one matrix.
struct Stack {
  uint64_t matrices = 1, rows = 1, columns = 1;
};

Stack StackOf(const OutputTensor& tensor) {
  const Shape& shape = tensor.value.shape;
  const size_t n = shape.size();
  return {n > 2 ? shape[n - 3] : 1, n > 1 ? shape[n - 2] : 1, tensor.value.columns()};
}

SumsEntry& EntryOf(const OutputTensor& tensor, ImatrixSums& sums) {
  const Stack stack = StackOf(tensor);
  return EntryFor(sums, tensor.name, stack.matrices, stack.columns);
}

// Keeps `sums` where the model's run shows what enters a matrix.
class Collector : public InputObserver {
 public:
  Collector(bool process_output, int threads, ImatrixSums& sums)
      : process_output_(process_output), threads_(threads), sums_(sums) {}

  void OnInput(const Linear& linear, const float* x, size_t tokens, size_t ldx) override {
    const OutputTensor& tensor = *linear.weight;
    const bool in_block = tensor.name.starts_with("blk.");
    if (!in_block && !process_output_) return;
    const Stack stack = StackOf(tensor);
    // Parts of a joined matrix take the same input, which counts once.
    if (linear.first % stack.rows != 0) return;
    SumsEntry& entry = EntryOf(tensor, sums_);
    const uint64_t matrix = linear.first / stack.rows;
    entry.counts[matrix] += static_cast<int64_t>(tokens);
    double* sums = entry.sums.data() + matrix * stack.columns;
    ParallelRanges(threads_, stack.columns, kColumns, [&](size_t begin, size_t end) {
      for (size_t t = 0; t < tokens; ++t)
        AddSquares(x + t * ldx + begin, end - begin, sums + begin);
    });
  }

 private:
  bool process_output_;
  int threads_;
  ImatrixSums& sums_;
};

// Bytes of the sums that a run may collect.
uint64_t SumsBytes(const OutputModel& model) {
  uint64_t bytes = 0;
  for (const OutputTensor& tensor : model.tensors) {
    const Stack stack = StackOf(tensor);
    if (tensor.value.shape.size() > 1) bytes += stack.matrices * stack.columns * sizeof(double);
  }
  return bytes;
}

}  // namespace

void RequireFit(const OutputModel& model, ImatrixSums& sums) {
  for (const OutputTensor& tensor : model.tensors) {
    if (sums.entries.contains(tensor.name)) EntryOf(tensor, sums);
  }
}

ImatrixRun CollectImatrix(const ReferenceModel& model, std::span<const int32_t> tokens,
                          const ImatrixOptions& options, ImatrixSums& sums) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const EvaluationOptions& evaluation = options.evaluation;
  const uint64_t memory = evaluation.memory > 0 ? evaluation.memory : kDefaultReferenceMemory;
  Products products(ThreadCount(evaluation.threads));
  Forward forward(model, evaluation.context, SlabBytes(memory), products);
  RequireFit(model.model, sums);
  Collector collector(options.process_output, products.threads(), sums);
  forward.set_observer(&collector);
  const Windows windows = CutWindows(tokens, model, evaluation);
  const uint64_t fixed = ProgramBytes(model, products.threads()) + SlabBytes(memory) +
                         forward.TableBytes() + SumsBytes(model.model) + windows.bytes();
  // Every position's results are wanted: the last layer sees all of them, as the others do.
  const size_t per_batch =
      WindowsPerBatch(memory, fixed, forward.BytesPerWindow(windows.context), windows.count);

  ImatrixRun run{.windows = windows.count};
  for (size_t begin = 0; begin < windows.count; begin += per_batch) {
    const size_t end = std::min(begin + per_batch, windows.count);
    Batch batch = windows.Slice(begin, end);
    batch.first = 0;
    batch.count = batch.context;
    forward.States(batch, [&](uint64_t layer) {
      if (!evaluation.progress) return;
      const double part = static_cast<double>(layer) / static_cast<double>(forward.graph().layers);
      evaluation.progress((static_cast<double>(begin) + part * static_cast<double>(end - begin)) /
                          static_cast<double>(windows.count));
    });
    ++run.batches;
  }
  run.product_seconds = products.seconds();
  run.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return run;
}

}  // namespace quern::verify
