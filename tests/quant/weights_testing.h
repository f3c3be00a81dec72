// Deterministic weights and importance values for codec tests and benchmarks.
#ifndef QUERN_TESTS_QUANT_WEIGHTS_TESTING_H_
#define QUERN_TESTS_QUANT_WEIGHTS_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quern::testing {

// Random numbers that are the same everywhere (splitmix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Bits();
  float Uniform();  // [0, 1), a multiple of 2^-24
  float Normal();   // mean 0, variance 1

 private:
  uint64_t state_;
};

enum class Distribution {
  kNormal,       // sigma 0.02, as in a trained layer
  kLaplace,      // heavier tails
  kStudent,      // heavy tails: a few weights are 100 x the rest
  kUniform,      // [-1, 1)
  kBF16,         // normal, rounded to bf16: ties in size are frequent
  kSparse,       // nine in ten are zero
  kPositive,     // normal, absolute: all mins are zero
  kMixedScales,  // every 32 weights have their own scale, 2^-30 to 2^10
};
inline constexpr Distribution kDistributions[] = {
    Distribution::kNormal,   Distribution::kLaplace,    Distribution::kStudent,
    Distribution::kUniform,  Distribution::kBF16,       Distribution::kSparse,
    Distribution::kPositive, Distribution::kMixedScales};
std::string_view Name(Distribution distribution);

void FillWeights(Distribution distribution, uint64_t seed, std::span<float> weights);

// Rows that break a careless quantizer: zeros of both signs, constants, subnormals, 1e30, one
// outlier, ties in size, ... All finite. `columns` weights per row, rows one after the other.
struct HardRows {
  std::vector<std::string_view> names;
  std::vector<float> weights;
};
HardRows MakeHardRows(size_t columns);

// Rows with NaN and infinity in various places.
HardRows MakeNonFiniteRows(size_t columns);

// One importance value per column.
enum class Importance { kSquares, kWithZeros, kFew, kAllZero, kConstant };
inline constexpr Importance kImportances[] = {Importance::kSquares, Importance::kWithZeros,
                                              Importance::kFew, Importance::kAllZero,
                                              Importance::kConstant};
std::vector<float> MakeImportance(Importance importance, uint64_t seed, size_t columns);

}  // namespace quern::testing

#endif  // QUERN_TESTS_QUANT_WEIGHTS_TESTING_H_
