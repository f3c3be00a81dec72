// The protocol of llama-perplexity, and how a text is cut into batches that fit the memory.
//
// The text's tokens are cut into windows of `context`; the beginning-of-sequence token is put over
// each window's first where the vocabulary asks for one; positions context/2 .. context-2 predict
// their next token and are scored. A last part shorter than a window is left out.
#ifndef QUERN_VERIFY_EVALUATION_H_
#define QUERN_VERIFY_EVALUATION_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "formats/core/metadata.h"
#include "verify/reference/forward.h"

namespace quern::verify {

inline constexpr uint64_t kDefaultReferenceMemory = uint64_t{1} << 30;

struct EvaluationOptions {
  size_t context = 512;
  size_t max_windows = 0;      // 0: all
  std::optional<int32_t> bos;  // put over each window's first token
  uint64_t memory = 0;         // bytes; 0: kDefaultReferenceMemory
  uint64_t taken = 0;          // MeasurePerplexity: bytes of the memory that its caller holds
  int threads = 0;             // 0: as many as OpenMP would use
  bool by_layer = false;       // MeasureDrift: also after each layer (layer_drift.h)
  // Called between layers and between slabs of logits with the share of the work that is done; may
  // throw to end the run.
  std::function<void(double done)> progress;
  std::function<void(size_t window, double perplexity)> estimate;
  // Called with the logits of the whole vocabulary at each scored position, counted over all
  // windows; by several threads at once. It costs reading the output matrix more often.
  std::function<void(uint64_t position, std::span<const float> logits)> logits;
};

struct Windows {
  std::vector<int32_t> tokens;  // count * context
  size_t context = 0;
  size_t count = 0;

  size_t first() const { return context / 2; }  // scored position
  size_t scored() const { return context - 1 - first(); }
  // Of the tokens here and in the text that they were cut from.
  uint64_t bytes() const { return 2 * tokens.size() * sizeof(int32_t); }
  Batch Slice(size_t begin, size_t end) const;
  // The token that scored position i (of Batch::wanted()) of windows from `begin` on predicts.
  int32_t Target(size_t begin, size_t i) const;
};

// Throws kUsage for a context below 4 and for a text of less than two windows.
Windows CutWindows(std::span<const int32_t> tokens, const EvaluationOptions& options);
// The same after CheckTokens.
Windows CutWindows(std::span<const int32_t> tokens, const ReferenceModel& model,
                   const EvaluationOptions& options);

// Throws as ResolveGraph and ResolveTensors.
uint64_t VocabularyOf(const ReferenceModel& model);

// Throws kBadValue for a token id outside the vocabulary, wherever it stands: also where the
// beginning token is put over it, and in a part of the text that is left out.
void CheckTokens(std::span<const int32_t> tokens, const ReferenceModel& model);

// The token that llama.cpp puts first, or absent where the vocabulary wants none.
std::optional<int32_t> BeginningToken(const Metadata& metadata);

uint64_t MemoryOf(const EvaluationOptions& options);

// Bytes of decoded weights at a time for a memory of so many bytes.
uint64_t SlabBytes(uint64_t memory);

// Bytes of a model's metadata, which its source and its output both hold.
uint64_t MetadataBytes(const ReferenceModel& model);

// Bytes that the program takes with one model before any activation.
uint64_t ProgramBytes(const ReferenceModel& model, int threads);

// Windows of a batch such that `fixed` + windows * `per_window` bytes stay within `memory`; batches
// are of nearly equal size. Throws kUsage, naming the memory that is needed, where not even one
// window fits.
size_t WindowsPerBatch(uint64_t memory, uint64_t fixed, uint64_t per_window, size_t windows);

// Bytes of the states of a window's scored positions.
uint64_t StateBytes(const Forward& forward, const Windows& windows);

// How many of the vocabulary's logits, at all scored positions of a window, fit into `bytes`.
uint64_t LogitRows(uint64_t bytes, const Windows& windows);

int ThreadCount(int threads);

// What is known of one scored position's logits after some slabs of the vocabulary.
struct Prediction {
  float largest = -std::numeric_limits<float>::infinity();
  double sum = 0;    // of exp(logit - largest)
  int32_t top = 0;   // the first token that has the largest logit
  float target = 0;  // logit of the token that follows

  // Takes logits[0, count) of tokens from `first` on; what `sum` was multiplied with before.
  double Add(const float* logits, uint64_t first, uint64_t count, int32_t target_token);
  double LogSum() const;
  // -ln of the probability of the token that follows.
  double Loss() const { return LogSum() - static_cast<double>(target); }
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_EVALUATION_H_
