#include "tests/quant/weights_testing.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "quant/blocks.h"

namespace quern::testing {
namespace {

float Laplace(Random& random) {
  const float u = random.Uniform() - 0.5f;
  return std::copysign(std::log1p(-2 * std::min(std::fabs(u), 0.4999999f)), u);
}

float Draw(Distribution distribution, Random& random) {
  switch (distribution) {
    case Distribution::kNormal:
    case Distribution::kMixedScales:
      return 0.02f * random.Normal();
    case Distribution::kLaplace:
      return 0.015f * Laplace(random);
    case Distribution::kStudent: {
      const float a = random.Normal();
      return 0.02f * a / (std::fabs(random.Normal()) + 0.01f);
    }
    case Distribution::kUniform:
      return 2 * random.Uniform() - 1;
    case Distribution::kBF16:
      return quant::BF16ToF32(quant::F32ToBF16(0.02f * random.Normal()));
    case Distribution::kSparse:
      return random.Bits() % 10 == 0 ? 0.02f * random.Normal() : 0.0f;
    case Distribution::kPositive:
      return std::fabs(0.02f * random.Normal());
  }
  return 0;
}

// A row as a function of the column and the row's length.
struct RowRule {
  std::string_view name;
  float (*weight)(size_t column, size_t columns, Random& random);
};

constexpr float kTiny = std::numeric_limits<float>::denorm_min();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

constexpr RowRule kHardRules[] = {
    {"zeros", [](size_t, size_t, Random&) { return 0.0f; }},
    {"negative zeros", [](size_t, size_t, Random&) { return -0.0f; }},
    {"zeros of both signs", [](size_t c, size_t, Random&) { return c % 3 ? 0.0f : -0.0f; }},
    {"zeros of random sign and a few positives",
     [](size_t, size_t, Random& r) {
       const uint64_t bits = r.Bits();
       return bits % 8 == 0 ? r.Uniform() : bits % 2 ? 0.0f : -0.0f;
     }},
    {"positive constant", [](size_t, size_t, Random&) { return 0.3f; }},
    {"negative constant", [](size_t, size_t, Random&) { return -0.7f; }},
    {"alternating sign", [](size_t c, size_t, Random&) { return c % 2 ? -0.5f : 0.5f; }},
    {"alternating sign, negative first",
     [](size_t c, size_t, Random&) { return c % 2 ? 0.25f : -0.25f; }},
    {"random sign, one size", [](size_t, size_t, Random& r) { return r.Bits() % 2 ? 1.f : -1.f; }},
    {"ramp", [](size_t c, size_t n, Random&) { return float(c) / float(n) - 0.5f; }},
    {"small integers", [](size_t, size_t, Random& r) { return float(r.Bits() % 33) - 16.0f; }},
    {"halves of small integers",
     [](size_t, size_t, Random& r) { return 0.5f * (float(r.Bits() % 65) - 32.0f); }},
    {"half steps of 127",
     [](size_t c, size_t, Random& r) {
       return c % 32 == 0 ? 127.0f : float(r.Bits() % 254) - 126.5f;
     }},
    {"one outlier",
     [](size_t c, size_t, Random& r) { return c == 17 ? 50.f : 0.01f * r.Normal(); }},
    {"one negative outlier",
     [](size_t c, size_t n, Random& r) { return c == n - 1 ? -9e3f : 0.01f * r.Normal(); }},
    {"only one weight", [](size_t c, size_t, Random&) { return c % 32 == 5 ? -1.25f : 0.0f; }},
    {"all negative", [](size_t, size_t, Random& r) { return -0.1f - r.Uniform(); }},
    {"far from zero", [](size_t, size_t, Random& r) { return 1000.0f + r.Uniform(); }},
    {"tiny", [](size_t, size_t, Random& r) { return 1e-8f * r.Normal(); }},
    {"below 1e-15", [](size_t, size_t, Random& r) { return 1e-16f * r.Normal(); }},
    {"around 1e-15", [](size_t, size_t, Random& r) { return 1e-15f * r.Normal(); }},
    {"1e-30", [](size_t, size_t, Random& r) { return 1e-30f * r.Normal(); }},
    {"near the least normal", [](size_t, size_t, Random& r) { return 3e-38f * r.Normal(); }},
    {"subnormal", [](size_t, size_t, Random& r) { return 1e-39f * r.Normal(); }},
    {"least subnormals", [](size_t c, size_t, Random&) { return c % 2 ? kTiny : -3 * kTiny; }},
    {"subnormal f16 scales", [](size_t, size_t, Random& r) { return 2e-5f * r.Normal(); }},
    {"scale above f16", [](size_t, size_t, Random& r) { return 1e6f * r.Normal(); }},
    {"1e15", [](size_t, size_t, Random& r) { return 1e15f * r.Normal(); }},
    {"huge", [](size_t, size_t, Random& r) { return 1e30f * r.Normal(); }},
    {"near the largest", [](size_t, size_t, Random& r) { return 3.4e38f * (2 * r.Uniform() - 1); }},
};

constexpr RowRule kNonFiniteRules[] = {
    {"all NaN", [](size_t, size_t, Random&) { return kNan; }},
    {"all infinite", [](size_t, size_t, Random&) { return kInfinity; }},
    {"infinities of both signs",
     [](size_t c, size_t, Random&) { return c % 2 ? kInfinity : -kInfinity; }},
    {"NaN first", [](size_t c, size_t, Random& r) { return c == 0 ? kNan : r.Normal(); }},
    {"NaN last", [](size_t c, size_t n, Random& r) { return c == n - 1 ? -kNan : r.Normal(); }},
    {"a NaN in each block",
     [](size_t c, size_t, Random& r) { return c % 32 == 9 ? kNan : r.Normal(); }},
    {"one infinity", [](size_t c, size_t, Random& r) { return c == 20 ? kInfinity : r.Normal(); }},
    {"one negative infinity",
     [](size_t c, size_t, Random& r) { return c == 3 ? -kInfinity : r.Normal(); }},
    {"random bits",
     [](size_t, size_t, Random& r) {
       return std::bit_cast<float>(static_cast<uint32_t>(r.Bits()));
     }},
};

HardRows Make(std::span<const RowRule> rules, size_t columns) {
  HardRows rows;
  Random random(42);
  for (const RowRule& rule : rules) {
    rows.names.push_back(rule.name);
    for (size_t c = 0; c < columns; ++c) rows.weights.push_back(rule.weight(c, columns, random));
  }
  return rows;
}

}  // namespace

uint64_t Random::Bits() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

float Random::Uniform() { return static_cast<float>(Bits() >> 40) * 0x1p-24f; }

float Random::Normal() {
  const float radius = std::sqrt(-2 * std::log(Uniform() + 0x1p-25f));
  return radius * std::cos(2 * std::numbers::pi_v<float> * Uniform());
}

std::string_view Name(Distribution distribution) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "normal", "Laplace", "Student", "uniform", "bf16", "sparse", "positive", "mixed scales"};
  return kNames[static_cast<size_t>(distribution)];
}

void FillWeights(Distribution distribution, uint64_t seed, std::span<float> weights) {
  Random random(seed * 1000003 + static_cast<uint64_t>(distribution));
  float scale = 1;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (distribution == Distribution::kMixedScales && i % 32 == 0) {
      scale = std::exp2(40 * random.Uniform() - 30);
    }
    weights[i] = scale * Draw(distribution, random);
  }
}

HardRows MakeHardRows(size_t columns) { return Make(kHardRules, columns); }

HardRows MakeNonFiniteRows(size_t columns) { return Make(kNonFiniteRules, columns); }

std::vector<float> MakeImportance(Importance importance, uint64_t seed, size_t columns) {
  Random random(seed);
  std::vector<float> values(columns);
  for (float& value : values) {
    const float normal = random.Normal();
    switch (importance) {
      case Importance::kSquares:
        value = normal * normal;
        break;
      case Importance::kWithZeros:
        value = random.Bits() % 4 == 0 ? 0.0f : 10 * random.Uniform();
        break;
      case Importance::kFew:  // two or so in a block: fits become exact, or leave the range
        value = random.Bits() % 16 == 0 ? normal * normal : 0.0f;
        break;
      case Importance::kAllZero:
        value = 0;
        break;
      case Importance::kConstant:
        value = 1;
        break;
    }
  }
  return values;
}

}  // namespace quern::testing
