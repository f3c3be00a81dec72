// The reference inference goes on with a text: a smoke check that a model is alive.
//
// The prompt goes through the layers in pieces that fit the memory, each token after it alone, with
// a key-value cache of f32. Decoded weights stay in memory as far as it goes; the others are read
// and decoded anew for each token, so that a model larger than the memory speaks too, slowly.
// Non-goals: chat templates, several texts at once, speed.
#ifndef QUERN_VERIFY_GENERATION_H_
#define QUERN_VERIFY_GENERATION_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "verify/reference/model.h"

namespace quern::verify {

struct GenerationOptions {
  size_t max_tokens = 64;
  double temperature = 0;  // sampler.h
  uint64_t seed = 0;
  uint64_t memory = 0;  // bytes, as in EvaluationOptions
  int threads = 0;      // 0: as many as OpenMP would use
  // Whether a token ends the text.
  std::function<bool(int32_t)> ends;
  // Called with each token as it is made; not with one that ends the text.
  std::function<void(int32_t)> token;
  // Called between layers with the share of the prompt that is done; may throw to end the run.
  std::function<void(double done)> progress;
};

enum class Stop : uint8_t {
  kLength,   // max_tokens
  kEnd,      // a token that ends the text
  kContext,  // the model knows no more positions
};

struct GenerationResult {
  std::vector<int32_t> tokens;  // without the prompt and without the one that ends the text
  Stop stopped = Stop::kLength;
  size_t context = 0;         // positions that the model knows; 0: it does not say
  double prompt_seconds = 0;  // until the first token's logits
  double seconds = 0;         // in all
};

// `prompt` begins with what the vocabulary puts first. Throws kUsage for an empty prompt, one that
// leaves no room in the model's context, and too little memory; otherwise as Forward.
GenerationResult Generate(const ReferenceModel& model, std::span<const int32_t> prompt,
                          const GenerationOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_GENERATION_H_
