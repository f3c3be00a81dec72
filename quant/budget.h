// One candidate per item so that the sum of errors is smallest within a budget of bytes: the
// multiple-choice knapsack behind --target-size.
//
// Items are tensors, candidates are types. Deterministic. Non-goals: where errors come from, files.
#ifndef QUERN_QUANT_BUDGET_H_
#define QUERN_QUANT_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace quern::quant {

struct BudgetCandidate {
  uint64_t bytes = 0;
  double error = 0;  // finite, at least 0
};
using BudgetItem = std::vector<BudgetCandidate>;  // at least one

// The position of the chosen candidate for each item; of equal errors fewer bytes, of equal
// candidates the first. Absent where even the smallest candidates exceed the budget.
//
// Exact as long as no more than `max_states` combinations of sizes are worth keeping; beyond that
// the range of sizes is cut into max_states parts, and of each only the best combination goes on.
// What that loses is far below what measured errors are worth (tests/quant/budget_test.cc).
// Time O(items x candidates x max_states), memory O(items x max_states).
std::optional<std::vector<size_t>> ChooseWithin(std::span<const BudgetItem> items, uint64_t budget,
                                                size_t max_states = 4096);

// The sums of the smallest and of the best candidates.
uint64_t SmallestBytes(std::span<const BudgetItem> items);
uint64_t LargestUsefulBytes(std::span<const BudgetItem> items);

}  // namespace quern::quant

#endif  // QUERN_QUANT_BUDGET_H_
