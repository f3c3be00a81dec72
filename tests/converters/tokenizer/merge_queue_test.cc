#include "converters/tokenizer/merge_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace quern::converters {
namespace {

using Possible = PossibleMerge<int, int>;
using Merges = std::map<std::pair<int, int>, Possible>;

// The definition: look at all pairs, merge the best, start again.
std::vector<int> MergeSlowly(std::vector<int> symbols, const Merges& merges) {
  while (true) {
    size_t best = symbols.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto merge = merges.find({symbols[i], symbols[i + 1]});
      if (merge == merges.end()) continue;
      if (best == symbols.size() ||
          merge->second.order < merges.at({symbols[best], symbols[best + 1]}).order)
        best = i;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = merges.at({symbols[best], symbols[best + 1]}).result;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(MergeBest, EqualsTheDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    Merges merges;
    for (int i = 0; i < 12; ++i) {
      // Orders repeat: ties go to the left.
      merges[{static_cast<int>(random() % 5), static_cast<int>(random() % 5)}] = {
          static_cast<int>(random() % 6), static_cast<int>(random() % 7)};
    }
    std::vector<int> symbols(random() % 30);
    for (int& symbol : symbols) symbol = static_cast<int>(random() % 4);
    const std::vector<int> expected = MergeSlowly(symbols, merges);
    MergeBest<int>(symbols, [&](int left, int right) -> std::optional<Possible> {
      const auto merge = merges.find({left, right});
      if (merge == merges.end()) return std::nullopt;
      return merge->second;
    });
    ASSERT_EQ(symbols, expected);
  }
}

}  // namespace
}  // namespace quern::converters
