#include "verify/evaluation.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "converters/tokenizer/pre_rules.h"
#include "formats/core/error.h"
#include "verify/reference/graph.h"
#include "verify/reference/tensors.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

constexpr size_t kMinContext = 4;
constexpr size_t kMaxContext = size_t{1} << 20;

constexpr uint64_t kMiB = uint64_t{1} << 20;
// The program and its libraries take about 15 MiB (measured); a thread's sgemm packs at most
// 768 x 384 and 384 x 1024 floats, and decodes 256 KiB of weights.
constexpr uint64_t kBaseBytes = 32 * kMiB;
constexpr uint64_t kThreadBytes = 4 * kMiB;

uint64_t BytesOf(const Value& value) {
  const Array* array = std::get_if<Array>(&value);
  if (array == nullptr) return sizeof(Value);
  const auto* strings = std::get_if<std::vector<std::string>>(&array->items);
  if (strings == nullptr) return array->size() * sizeof(uint64_t);
  uint64_t bytes = 0;
  for (const std::string& text : *strings) bytes += sizeof(text) + text.capacity();
  return bytes;
}

}  // namespace

Batch Windows::Slice(size_t begin, size_t end) const {
  return {std::span(tokens).subspan(begin * context, (end - begin) * context), context, first(),
          scored()};
}

int32_t Windows::Target(size_t begin, size_t i) const {
  return tokens[(begin + i / scored()) * context + first() + i % scored() + 1];
}

Windows CutWindows(std::span<const int32_t> tokens, const EvaluationOptions& options) {
  const size_t context = options.context;
  if (context < kMinContext || context > kMaxContext) {
    throw Error(
        ErrorCode::kUsage, {{}, {}, "--ctx"},
        fmt::format("{} is not a context; choose {} to {}", context, kMinContext, kMaxContext));
  }
  if (tokens.size() < 2 * context) {
    throw Error(ErrorCode::kUsage, {},
                fmt::format("the text has {} tokens, but two windows of {} are needed; take a "
                            "longer text or a shorter --ctx",
                            tokens.size(), context));
  }
  Windows windows{.context = context, .count = tokens.size() / context};
  if (options.max_windows > 0) windows.count = std::min(windows.count, options.max_windows);
  const auto end = tokens.begin() + static_cast<ptrdiff_t>(windows.count * context);
  windows.tokens.assign(tokens.begin(), end);
  for (size_t i = 0; options.bos && i < windows.count; ++i) {
    windows.tokens[i * context] = *options.bos;
  }
  return windows;
}

Windows CutWindows(std::span<const int32_t> tokens, const ReferenceModel& model,
                   const EvaluationOptions& options) {
  Windows windows = CutWindows(tokens, options);
  CheckTokens(tokens, model);
  return windows;
}

uint64_t VocabularyOf(const ReferenceModel& model) {
  Graph graph = ResolveGraph(model.model, model.rules);
  ResolveTensors(model.model, graph);  // sets it
  return graph.vocabulary;
}

void CheckTokens(std::span<const int32_t> tokens, const ReferenceModel& model) {
  const uint64_t vocabulary = VocabularyOf(model);
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [&](int32_t token) {
    return token < 0 || static_cast<uint64_t>(token) >= vocabulary;
  });
  if (bad == tokens.end()) return;
  throw Error(ErrorCode::kBadValue,
              {model.source->path().string(), {}, fmt::format("token id {}", *bad)},
              fmt::format("at position {} of the text is outside the vocabulary of {}; the text "
                          "was tokenized for another model",
                          bad - tokens.begin(), vocabulary));
}

std::optional<int32_t> BeginningToken(const Metadata& metadata) {
  const auto model = metadata.GetString("tokenizer.ggml.model").value_or("");
  const bool sentencepiece = model == "llama";
  const auto name = metadata.GetString("tokenizer.ggml.pre").value_or(model);
  const converters::PreRule* pre = sentencepiece ? nullptr : converters::FindPreRule(name);
  bool adds = sentencepiece || (pre && pre->add_bos);
  if (const bool* flag = metadata.Get<bool>("tokenizer.ggml.add_bos_token")) adds = *flag;
  if (!adds && !(pre && pre->always_add_bos)) return std::nullopt;
  constexpr int64_t kSentencePieceBos = 1, kGpt2Bos = 11;
  return static_cast<int32_t>(metadata.GetInteger("tokenizer.ggml.bos_token_id")
                                  .value_or(sentencepiece ? kSentencePieceBos : kGpt2Bos));
}

uint64_t MemoryOf(const EvaluationOptions& options) {
  return options.memory > 0 ? options.memory : kDefaultReferenceMemory;
}

uint64_t SlabBytes(uint64_t memory) { return std::clamp(memory / 8, 1 * kMiB, 64 * kMiB); }

uint64_t MetadataBytes(const ReferenceModel& model) {
  uint64_t bytes = 0;
  for (const auto& [key, value] : model.model.metadata.entries()) bytes += BytesOf(value);
  return 2 * bytes;
}

uint64_t ProgramBytes(const ReferenceModel& model, int threads) {
  return kBaseBytes + static_cast<uint64_t>(threads) * kThreadBytes + MetadataBytes(model);
}

size_t WindowsPerBatch(uint64_t memory, uint64_t fixed, uint64_t per_window, size_t windows) {
  if (memory < fixed + per_window) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--memory"},
                fmt::format("is too little for a window of this model; give --memory {}M or more, "
                            "or a shorter --ctx",
                            (fixed + per_window) / kMiB + 1));
  }
  const uint64_t fitting = std::min<uint64_t>((memory - fixed) / per_window, windows);
  const uint64_t batches = (windows + fitting - 1) / fitting;
  return (windows + batches - 1) / batches;
}

uint64_t StateBytes(const Forward& forward, const Windows& windows) {
  return windows.scored() * forward.graph().width * sizeof(float);
}

uint64_t LogitRows(uint64_t bytes, const Windows& windows) {
  return std::max<uint64_t>(1, bytes / (windows.scored() * sizeof(float)));
}

int ThreadCount(int threads) { return threads > 0 ? threads : omp_get_max_threads(); }

double Prediction::Add(const float* logits, uint64_t first, uint64_t count, int32_t target_token) {
  const float slab_largest = Largest(logits, count);
  double factor = 1;
  if (slab_largest > largest) {
    factor = std::exp(static_cast<double>(largest) - static_cast<double>(slab_largest));
    largest = slab_largest;
    top = static_cast<int32_t>(
        first + static_cast<uint64_t>(std::find(logits, logits + count, slab_largest) - logits));
  }
  sum = sum * factor + SumOfExponentials(logits, count, largest);
  const uint64_t token = static_cast<uint64_t>(target_token);
  if (token >= first && token < first + count) target = logits[token - first];
  return factor;
}

double Prediction::LogSum() const { return static_cast<double>(largest) + std::log(sum); }

}  // namespace quern::verify
