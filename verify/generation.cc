#include "verify/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "formats/core/error.h"
#include "verify/evaluation.h"
#include "verify/sampler.h"

namespace quern::verify {
namespace {

using Clock = std::chrono::steady_clock;

// Tokens of the prompt at a time: with more, sgemm is no faster.
constexpr size_t kMaxPiece = 512;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Positions that the model knows, 0 where it does not say.
size_t ContextLength(const ReferenceModel& model) {
  const auto length = model.model.metadata.GetInteger(model.model.architecture + ".context_length");
  return length && *length > 0 ? static_cast<size_t>(*length) : 0;
}

// One text on its way through one model.
class Speaker {
 public:
  Speaker(const ReferenceModel& model, size_t context, size_t prompt,
          const GenerationOptions& options)
      : options_(options),
        memory_(MemoryOf({.memory = options.memory})),
        products_(ThreadCount(options.threads)),
        forward_(model, context, SlabBytes(memory_), products_),
        piece_(DivideMemory(model, context, prompt)),
        cache_(forward_.graph(), context),
        logits_(1, forward_.graph().vocabulary) {}

  // Logits after `tokens`, which follow all that came before.
  std::span<const float> Logits(std::span<const int32_t> tokens) {
    Matrix state;
    for (size_t begin = 0; begin < tokens.size(); begin += piece_) {
      const size_t count = std::min(piece_, tokens.size() - begin);
      const auto progress = [&](uint64_t layer) {
        const double part =
            static_cast<double>(layer) / static_cast<double>(forward_.graph().layers);
        if (!options_.progress) return;
        options_.progress((static_cast<double>(begin) + part * static_cast<double>(count)) /
                          static_cast<double>(tokens.size()));
      };
      const Batch batch = {.tokens = tokens.subspan(begin, count),
                           .context = count,
                           .first = count - 1,
                           .count = 1,
                           .cache = &cache_};
      state = forward_.States(batch, progress);
    }
    const uint64_t vocabulary = logits_.columns();
    const uint64_t slab = forward_.LogitSlabRows();
    for (uint64_t first = 0; first < vocabulary; first += slab) {
      forward_.Logits(state, first, std::min(slab, vocabulary - first), logits_.data() + first);
    }
    return {logits_.data(), vocabulary};
  }

 private:
  // Tokens of a piece of the prompt; what is left goes to decoded weights.
  size_t DivideMemory(const ReferenceModel& model, size_t context, size_t prompt) {
    const Graph& graph = forward_.graph();
    // The last state, its logits, and what is drawn from.
    const uint64_t choice =
        forward_.PassBytes(1) + graph.vocabulary * (sizeof(float) + sizeof(double));
    const uint64_t fixed = ProgramBytes(model, products_.threads()) + SlabBytes(memory_) +
                           forward_.TableBytes() + KeyValueCache::Bytes(graph, context) + choice;
    const uint64_t per_token = forward_.PassBytes(1) + forward_.WorkspaceBytes(1);
    if (memory_ < fixed + per_token) {
      throw Error(ErrorCode::kUsage, {{}, {}, "--memory"},
                  fmt::format("is too little for {} positions of this model; give --memory {}M or "
                              "more, or a smaller -n",
                              context, ((fixed + per_token) >> 20) + 1));
    }
    const size_t piece = std::min({kMaxPiece, prompt, (memory_ - fixed) / per_token});
    forward_.KeepWeights(memory_ - fixed - piece * per_token);
    return piece;
  }

  const GenerationOptions& options_;
  uint64_t memory_;
  Products products_;
  Forward forward_;
  size_t piece_;
  KeyValueCache cache_;
  Matrix logits_;
};

}  // namespace

GenerationResult Generate(const ReferenceModel& model, std::span<const int32_t> prompt,
                          const GenerationOptions& options) {
  const auto start = Clock::now();
  GenerationResult result{.context = ContextLength(model)};
  const size_t limit = result.context > 0 ? result.context : std::numeric_limits<size_t>::max();
  if (prompt.empty()) {
    throw Error(ErrorCode::kUsage, {}, "the prompt has no tokens; give a text to go on with");
  }
  if (prompt.size() >= limit) {
    throw Error(ErrorCode::kUsage, {model.source->path().string(), {}, {}},
                fmt::format("the prompt has {} tokens, which leaves no room in the model's context "
                            "of {}; shorten it",
                            prompt.size(), limit));
  }
  Speaker speaker(model, std::min(limit, prompt.size() + options.max_tokens), prompt.size(),
                  options);
  Sampler sampler(options.temperature, options.seed);
  std::vector<int32_t>& tokens = result.tokens;
  std::span<const int32_t> next = prompt;
  while (tokens.size() < options.max_tokens) {
    if (prompt.size() + tokens.size() == limit) {
      result.stopped = Stop::kContext;
      break;
    }
    const auto logits = speaker.Logits(next);
    if (tokens.empty()) result.prompt_seconds = SecondsSince(start);
    const int32_t token = sampler.Choose(logits);
    if (options.ends && options.ends(token)) {
      result.stopped = Stop::kEnd;
      break;
    }
    tokens.push_back(token);
    if (options.token) options.token(token);
    next = std::span(tokens).last(1);
  }
  result.seconds = SecondsSince(start);
  return result;
}

}  // namespace quern::verify
