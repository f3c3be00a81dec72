#include "verify/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>

#include "verify/reference/parallel.h"

namespace quern::verify {
namespace {

constexpr size_t kGrain = 4;  // positions that one thread takes at a time

using ShareDone = std::function<void(double share)>;

// Predictions at the scored positions of windows from `begin` on. The logits of all of them are
// computed for a slab of the vocabulary at a time, which is at most `rows` tokens.
std::vector<Prediction> Predict(Forward& forward, const Matrix& states, const Windows& windows,
                                size_t begin, uint64_t rows, int threads,
                                const ShareDone& progress) {
  std::vector<Prediction> predictions(states.rows());
  const uint64_t vocabulary = forward.graph().vocabulary;
  Matrix logits(states.rows(), rows);
  for (uint64_t first = 0; first < vocabulary; first += rows) {
    progress(static_cast<double>(first) / static_cast<double>(vocabulary));
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

// As Predict, with the whole vocabulary at `block` positions at a time, which `see` is shown.
std::vector<Prediction> PredictWhole(Forward& forward, const Matrix& states, const Windows& windows,
                                     size_t begin, uint64_t block, int threads,
                                     const decltype(EvaluationOptions::logits)& see,
                                     const ShareDone& progress) {
  std::vector<Prediction> predictions(states.rows());
  const uint64_t vocabulary = forward.graph().vocabulary;
  const uint64_t rows = std::min(vocabulary, forward.LogitSlabRows());
  Matrix whole(block, vocabulary), slab(block, rows);
  for (size_t at = 0; at < states.rows(); at += block) {
    const size_t positions = std::min<size_t>(block, states.rows() - at);
    Matrix some(positions, states.columns());
    std::memcpy(some.data(), states.row(at), positions * states.columns() * sizeof(float));
    for (uint64_t first = 0; first < vocabulary; first += rows) {
      const double part = static_cast<double>(first) / static_cast<double>(vocabulary);
      progress((static_cast<double>(at) + part * static_cast<double>(positions)) /
               static_cast<double>(states.rows()));
      const uint64_t count = std::min(rows, vocabulary - first);
      forward.Logits(some, first, count, slab.data());
      for (size_t i = 0; i < positions; ++i) {
        std::memcpy(whole.row(i) + first, slab.data() + i * count, count * sizeof(float));
      }
    }
    ParallelRanges(threads, positions, kGrain, [&](size_t from, size_t to) {
      for (size_t i = from; i < to; ++i) {
        predictions[at + i].Add(whole.row(i), 0, vocabulary, windows.Target(begin, at + i));
        see(begin * windows.scored() + at + i, {whole.row(i), vocabulary});
      }
    });
  }
  return predictions;
}

}  // namespace

PerplexityResult MeasurePerplexity(const ReferenceModel& model, std::span<const int32_t> tokens,
                                   const EvaluationOptions& options) {
  return MeasurePerplexity(model, CutWindows(tokens, model, options), options);
}

PerplexityResult MeasurePerplexity(const ReferenceModel& model, const Windows& windows,
                                   const EvaluationOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const uint64_t memory = MemoryOf(options);
  Products products(ThreadCount(options.threads));
  Forward forward(model, windows.context, SlabBytes(memory), products);
  const uint64_t per_window = forward.BytesPerWindow(windows.scored());
  const uint64_t fixed = ProgramBytes(model, products.threads()) + SlabBytes(memory) +
                         forward.TableBytes() + windows.bytes() + options.taken;
  const size_t per_batch = WindowsPerBatch(memory, fixed, per_window, windows.count);
  // Logits take the memory that activations have left.
  const uint64_t logit_bytes = per_window - StateBytes(forward, windows);
  const uint64_t rows = std::min(LogitRows(logit_bytes, windows), forward.LogitSlabRows());
  // In those of a position: its logits twice, and its state.
  const uint64_t whole_bytes =
      (2 * forward.graph().vocabulary + forward.graph().width) * sizeof(float);
  const uint64_t block =
      std::clamp<uint64_t>(per_batch * logit_bytes / whole_bytes, 1, per_batch * windows.scored());

  PerplexityResult result{.windows = windows.count};
  Moments losses;
  for (size_t begin = 0; begin < windows.count; begin += per_batch) {
    const size_t end = std::min(begin + per_batch, windows.count);
    // Logits count as one more layer. `part`: of this batch, in layers.
    const double layers = static_cast<double>(forward.graph().layers);
    const auto progress = [&](double part) {
      if (!options.progress) return;
      const double done = part / (layers + 1) * static_cast<double>(end - begin);
      options.progress((static_cast<double>(begin) + done) / static_cast<double>(windows.count));
    };
    const Matrix states = forward.States(
        windows.Slice(begin, end), [&](uint64_t layer) { progress(static_cast<double>(layer)); });
    const ShareDone logits = [&](double share) { progress(layers + share); };
    const auto predictions =
        options.logits ? PredictWhole(forward, states, windows, begin, block, products.threads(),
                                      options.logits, logits)
                       : Predict(forward, states, windows, begin, rows, products.threads(), logits);
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
