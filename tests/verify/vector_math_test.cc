#include "verify/reference/vector_math.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <random>
#include <vector>

namespace quern::verify {
namespace {

// On every instruction set of this CPU, for lengths with and without an end that fills no vector.
template <typename Check>
void OnAllTargets(const Check& check) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 4);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const size_t n : {1, 3, 8, 31, 64, 257}) {
      std::vector<float> x(n), y(n);
      for (float& value : x) value = normal(random);
      for (float& value : y) value = normal(random);
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + " " + std::to_string(n));
      check(x, y);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(VectorMath, ExponentialsSumAsInDoublePrecision) {
  OnAllTargets([](std::vector<float> x, const std::vector<float>& y) {
    const float most = Largest(x.data(), x.size());
    EXPECT_EQ(most, *std::max_element(x.begin(), x.end()));
    double sum = 0, weighted = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double power = std::exp(static_cast<double>(x[i] - most));
      sum += power;
      weighted += power * static_cast<double>(x[i] - y[i]);
    }
    EXPECT_NEAR(SumOfExponentials(x.data(), x.size(), most), sum, sum * 2e-7);
    EXPECT_NEAR(WeightedDifference(x.data(), y.data(), x.size(), most), weighted, sum * 4e-6);
    const std::vector<float> before = x;
    EXPECT_NEAR(ExponentiateAndSum(x.data(), x.size(), most), sum, sum * 2e-7);
    for (size_t i = 0; i < x.size(); ++i) {
      const double power = std::exp(static_cast<double>(before[i] - most));
      EXPECT_NEAR(x[i], power, power * 2.4e-7);  // 2 ulp
    }
  });
}

TEST(VectorMath, AddsSquaresInDoublePrecision) {
  OnAllTargets([](const std::vector<float>& x, const std::vector<float>& y) {
    std::vector<double> sums(x.size() + 1, 0.5);
    AddSquares(x.data(), x.size(), sums.data());
    AddSquares(y.data(), y.size(), sums.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const double a = static_cast<double>(x[i]), b = static_cast<double>(y[i]);
      EXPECT_EQ(sums[i], 0.5 + a * a + b * b);
    }
    EXPECT_EQ(sums.back(), 0.5);
  });
}

TEST(VectorMath, NormalizesWithAndWithoutBias) {
  OnAllTargets([](const std::vector<float>& x, const std::vector<float>& y) {
    double sum = 0, squares = 0;
    for (const float value : x) sum += static_cast<double>(value);
    for (const float value : x) squares += std::pow(static_cast<double>(value - 0.5f), 2);
    EXPECT_NEAR(Sum(x.data(), x.size()), sum, 1e-9);
    EXPECT_NEAR(SumOfSquares(x.data(), x.size(), 0.5f), squares, squares * 2e-7);
    std::vector<float> out(x.size());
    Normalize(x.data(), x.size(), 0.5f, 2, y.data(), nullptr, out.data());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(out[i], (x[i] - 0.5f) * 2 * y[i]);
    Normalize(x.data(), x.size(), 0.5f, 2, y.data(), y.data(), out.data());
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(out[i], (x[i] - 0.5f) * 2 * y[i] + y[i]);
  });
}

TEST(VectorMath, ActivationsAreTheirFormulas) {
  OnAllTargets([](const std::vector<float>& x, const std::vector<float>& y) {
    std::vector<float> silu = x, gelu = x, alone = x;
    Silu(silu.data(), y.data(), x.size());
    Silu(alone.data(), nullptr, x.size());
    Gelu(gelu.data(), nullptr, x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double value = static_cast<double>(x[i]);
      const double expected = value / (1 + std::exp(-value));
      EXPECT_NEAR(alone[i], expected, std::fabs(expected) * 4e-7);
      EXPECT_NEAR(silu[i], expected * static_cast<double>(y[i]),
                  std::fabs(expected * static_cast<double>(y[i])) * 5e-7);
      const double inner = std::sqrt(2 / M_PI) * (value + 0.044715 * value * value * value);
      EXPECT_NEAR(gelu[i], 0.5 * value * (1 + std::tanh(inner)), 3e-6);
    }
  });
}

TEST(VectorMath, ActivationsStayFiniteFarOut) {
  std::vector<float> x = {-1e30f, -1e4f, -100, 100, 1e4f, 1e12f};
  std::vector<float> gelu = x;
  Silu(x.data(), nullptr, x.size());
  Gelu(gelu.data(), nullptr, gelu.size());
  for (const auto& values : {x, gelu}) {
    EXPECT_NEAR(values[2], 0, 1e-30);
    EXPECT_EQ(values[3], 100);
    EXPECT_EQ(values[4], 1e4f);
    EXPECT_EQ(values[5], 1e12f);
  }
}

}  // namespace
}  // namespace quern::verify
