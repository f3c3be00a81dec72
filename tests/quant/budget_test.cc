#include "quant/budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "tests/quant/weights_testing.h"

namespace quern::quant {
namespace {

struct Sums {
  uint64_t bytes = 0;
  double error = 0;
};

Sums Sum(const std::vector<BudgetItem>& items, const std::vector<size_t>& chosen) {
  Sums sums;
  for (size_t i = 0; i < items.size(); ++i) {
    sums.bytes += items[i][chosen[i]].bytes;
    sums.error += items[i][chosen[i]].error;
  }
  return sums;
}

// The smallest error of all combinations within the budget.
double BestByBruteForce(const std::vector<BudgetItem>& items, uint64_t budget) {
  double best = std::numeric_limits<double>::infinity();
  std::function<void(size_t, uint64_t, double)> visit = [&](size_t i, uint64_t bytes,
                                                            double error) {
    if (bytes > budget) return;
    if (i == items.size()) {
      best = std::min(best, error);
      return;
    }
    for (const auto& candidate : items[i]) {
      visit(i + 1, bytes + candidate.bytes, error + candidate.error);
    }
  };
  visit(0, 0, 0);
  return best;
}

std::vector<BudgetItem> RandomItems(uint64_t seed, size_t count) {
  testing::Random random(seed);
  std::vector<BudgetItem> items(count);
  for (BudgetItem& item : items) {
    item.resize(1 + random.Bits() % 5);
    // Errors are small integers, so that ties happen and sums are exact in any order.
    for (auto& candidate : item) {
      candidate = {random.Bits() % 100, static_cast<double>(random.Bits() % 50)};
    }
  }
  return items;
}

// Tensors of a model: sizes of a 20-layer Llama, errors that fall fourfold with each bit.
std::vector<BudgetItem> ModelItems() {
  testing::Random random(5);
  std::vector<BudgetItem> items;
  const auto add = [&](uint64_t weights) {
    BudgetItem item;
    const double scale = 0.5 + random.Uniform();
    for (const double bits : {1.6875, 2.625, 3.4375, 4.25, 4.5, 5.5, 6.5625, 8.5, 16.0}) {
      item.push_back({static_cast<uint64_t>(static_cast<double>(weights) * bits / 8),
                      scale * std::exp2(-2 * bits)});
    }
    items.push_back(std::move(item));
  };
  add(32000 * 1024);
  for (int layer = 0; layer < 20; ++layer) {
    for (const uint64_t weights : {1024 * 1024, 512 * 1024, 512 * 1024, 1024 * 1024, 2816 * 1024,
                                   2816 * 1024, 2816 * 1024}) {
      add(weights);
    }
  }
  add(32000 * 1024);
  return items;
}

TEST(Budget, EqualsBruteForceOnSmallCases) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const auto items = RandomItems(seed, 1 + seed % 6);
    for (uint64_t budget = 0; budget < 400; budget += 37) {
      const auto chosen = ChooseWithin(items, budget);
      const double best = BestByBruteForce(items, budget);
      ASSERT_EQ(chosen.has_value(), std::isfinite(best)) << "seed " << seed << " " << budget;
      if (!chosen) continue;
      EXPECT_LE(Sum(items, *chosen).bytes, budget);
      EXPECT_EQ(Sum(items, *chosen).error, best) << "seed " << seed << " budget " << budget;
    }
  }
}

TEST(Budget, AbsentWhereNothingFitsAndTheBestWhereEverythingDoes) {
  const auto items = ModelItems();
  EXPECT_FALSE(ChooseWithin(items, SmallestBytes(items) - 1));
  EXPECT_EQ(Sum(items, ChooseWithin(items, SmallestBytes(items)).value()).bytes,
            SmallestBytes(items));
  EXPECT_EQ(Sum(items, ChooseWithin(items, UINT64_MAX).value()).bytes, LargestUsefulBytes(items));
}

TEST(Budget, EmptyModelAndSingleCandidates) {
  EXPECT_TRUE(ChooseWithin({}, 0).value().empty());
  const std::vector<BudgetItem> fixed = {{{7, 1.0}}, {{5, 0.0}}};
  EXPECT_FALSE(ChooseWithin(fixed, 11));
  EXPECT_EQ(ChooseWithin(fixed, 12).value(), (std::vector<size_t>{0, 0}));
}

TEST(Budget, OfEqualErrorsTheSmallerAndOfEqualCandidatesTheFirst) {
  const std::vector<BudgetItem> items = {{{9, 1.0}, {8, 1.0}, {8, 1.0}}};
  EXPECT_EQ(ChooseWithin(items, 100).value(), std::vector<size_t>{1});
}

// No Lagrangian solution may be better: where all choices minimize error + price * bytes, their
// error is the smallest of all combinations of that size. So thinning can be judged on models that
// brute force cannot reach.
TEST(BudgetSlow, ComesWithinAThousandthOfTheLowerBoundOnAModelAndFillsTheBudget) {
  const auto items = ModelItems();
  for (double price = 1e-13; price < 1e-8; price *= 10) {
    Sums bound;
    for (const BudgetItem& item : items) {
      const auto best = std::min_element(item.begin(), item.end(), [&](auto& a, auto& b) {
        return a.error + price * static_cast<double>(a.bytes) <
               b.error + price * static_cast<double>(b.bytes);
      });
      bound.bytes += best->bytes;
      bound.error += best->error;
    }
    const Sums found = Sum(items, ChooseWithin(items, bound.bytes).value());
    EXPECT_LE(found.bytes, bound.bytes);
    EXPECT_LE(found.error, bound.error * 1.001) << price;
    EXPECT_GE(found.error, bound.error * (1 - 1e-9)) << price;
    EXPECT_GT(static_cast<double>(found.bytes), 0.995 * static_cast<double>(bound.bytes)) << price;
  }
}

TEST(BudgetSlow, ABudgetBetweenTwoSizesIsFilled) {
  const auto items = ModelItems();
  for (uint64_t budget = 100'000'000; budget < 300'000'000; budget += 47'777'777) {
    const Sums found = Sum(items, ChooseWithin(items, budget).value());
    EXPECT_LE(found.bytes, budget);
    EXPECT_GT(static_cast<double>(found.bytes), 0.995 * static_cast<double>(budget));
  }
}

}  // namespace
}  // namespace quern::quant
