// Chooses the next token from logits: the most likely one, or one drawn by a documented scheme that
// depends on the logits, the temperature and the seed alone.
//
// Drawing: weights exp((logit - largest) / temperature) in f64; the token is the first, in the
// order of ids, whose cumulative weight exceeds u times the sum of all. The n-th u is the upper 53
// bits of the n-th output of SplitMix64 (Steele, Lea, Flood 2014) from `seed`, times 2^-53.
// Non-goals: top-k, top-p, penalties.
#ifndef QUERN_VERIFY_SAMPLER_H_
#define QUERN_VERIFY_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

namespace quern::verify {

class Sampler {
 public:
  // temperature not above 0: the first of the tokens with the largest logit, always.
  Sampler(double temperature, uint64_t seed) : temperature_(temperature), state_(seed) {}

  // `logits` are finite and not empty.
  int32_t Choose(std::span<const float> logits);

 private:
  double Uniform();  // in [0, 1)

  double temperature_;
  uint64_t state_;
  std::vector<double> weights_;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_SAMPLER_H_
