#include "verify/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "verify/reference/parallel.h"

namespace quern::verify {
namespace {

constexpr size_t kGrain = 4;  // positions that one thread takes at a time

// Predictions at the scored positions of windows from `begin` on. The logits of all of them are
// computed for a slab of the vocabulary at a time, which is at most `rows` tokens.
std::vector<Prediction> Predict(Forward& forward, const Matrix& states, const Windows& windows,
                                size_t begin, uint64_t rows, int threads) {
  std::vector<Prediction> predictions(states.rows());
  const uint64_t vocabulary = forward.graph().vocabulary;
  Matrix logits(states.rows(), rows);
  for (uint64_t first = 0; first < vocabulary; first += rows) {
    const uint64_t count = std::min(rows, vocabulary - first);
    forward.Logits(states, first, count, logits.data());
    ParallelRanges(threads, states.rows(), kGrain, [&](size_t from, size_t to) {
      for (size_t i = from; i < to; ++i) {
        predictions[i].Add(logits.data() + i * count, first, count, windows.Target(begin, i));
      }
    });
  }
  return predictions;
}

}  // namespace

PerplexityResult MeasurePerplexity(const ReferenceModel& model, std::span<const int32_t> tokens,
                                   const EvaluationOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const uint64_t memory = MemoryOf(options);
  Products products(ThreadCount(options.threads));
  Forward forward(model, options.context, SlabBytes(memory), products);
  const Windows windows = CutWindows(tokens, options);
  const uint64_t per_window = forward.BytesPerWindow(windows.scored());
  const uint64_t fixed =
      ProgramBytes(model, products.threads()) + SlabBytes(memory) + forward.TableBytes();
  const size_t per_batch = WindowsPerBatch(memory, fixed, per_window, windows.count);
  // Logits take the memory that activations have left.
  const uint64_t rows = std::min(LogitRows(per_window - StateBytes(forward, windows), windows),
                                 forward.LogitSlabRows());

  PerplexityResult result{.windows = windows.count};
  Moments losses;
  for (size_t begin = 0; begin < windows.count; begin += per_batch) {
    const size_t end = std::min(begin + per_batch, windows.count);
    const auto progress = [&](uint64_t layer) {
      if (!options.progress) return;
      const double part = static_cast<double>(layer) / static_cast<double>(forward.graph().layers);
      options.progress((static_cast<double>(begin) + part * static_cast<double>(end - begin)) /
                       static_cast<double>(windows.count));
    };
    const Matrix states = forward.States(windows.Slice(begin, end), progress);
    const auto predictions = Predict(forward, states, windows, begin, rows, products.threads());
    for (size_t i = 0; i < predictions.size(); ++i) {
      losses.Add(predictions[i].Loss());
      if (options.estimate && (i + 1) % windows.scored() == 0) {
        options.estimate(begin + i / windows.scored(), std::exp(losses.Mean().value));
      }
    }
    ++result.batches;
  }
  result.mean_loss = losses.Mean();
  result.perplexity = Exponential(result.mean_loss);
  result.tokens_scored = losses.count();
  result.product_seconds = products.seconds();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

}  // namespace quern::verify
