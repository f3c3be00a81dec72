#include "quant/budget.h"

#include <algorithm>
#include <numeric>

namespace quern::quant {
namespace {

// A choice for the first items, better than every smaller one.
struct State {
  uint64_t bytes;
  double error;
  uint32_t parent;     // in the list of states one item before
  uint32_t candidate;  // of the item
};
using States = std::vector<State>;

bool IsSmaller(const BudgetCandidate& a, const BudgetCandidate& b) {
  return a.bytes != b.bytes ? a.bytes < b.bytes : a.error < b.error;
}

// Positions of the candidates that are worth their bytes, from the smallest to the best.
std::vector<uint32_t> Frontier(const BudgetItem& item) {
  std::vector<uint32_t> order(item.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return IsSmaller(item[a], item[b]); });
  std::vector<uint32_t> frontier;
  for (const uint32_t i : order) {
    if (frontier.empty() || item[i].error < item[frontier.back()].error) frontier.push_back(i);
  }
  return frontier;
}

// Keeps the states that are better than every smaller one. `states` are sorted by bytes.
void DropDominated(States& states) {
  size_t kept = 0;
  for (const State& state : states) {
    if (kept > 0 && state.error >= states[kept - 1].error) continue;
    if (kept > 0 && state.bytes == states[kept - 1].bytes) --kept;
    states[kept++] = state;
  }
  states.resize(kept);
}

// The best (last) state of each of `count` equal ranges of bytes, and the smallest of all.
void Thin(size_t count, States& states) {
  if (states.size() <= count) return;
  const uint64_t first = states.front().bytes;
  const uint64_t range = (states.back().bytes - first) / count + 1;
  size_t kept = 1;
  for (size_t i = 1; i < states.size(); ++i) {
    const bool is_last = i + 1 == states.size() ||
                         (states[i].bytes - first) / range != (states[i + 1].bytes - first) / range;
    if (is_last) states[kept++] = states[i];
  }
  states.resize(kept);
}

// `states` with one more item, as long as the items that follow still have `limit` bytes in all.
States Extend(const States& states, const BudgetItem& item, uint64_t limit) {
  States extended, merged, next;
  for (const uint32_t candidate : Frontier(item)) {
    next.clear();
    for (size_t i = 0; i < states.size(); ++i) {
      const uint64_t bytes = states[i].bytes + item[candidate].bytes;
      if (bytes > limit) break;
      next.push_back(
          {bytes, states[i].error + item[candidate].error, static_cast<uint32_t>(i), candidate});
    }
    merged.resize(extended.size() + next.size());
    std::merge(extended.begin(), extended.end(), next.begin(), next.end(), merged.begin(),
               [](const State& a, const State& b) { return a.bytes < b.bytes; });
    DropDominated(merged);
    extended.swap(merged);
  }
  return extended;
}

uint64_t Smallest(const BudgetItem& item) { return item[Frontier(item).front()].bytes; }

}  // namespace

uint64_t SmallestBytes(std::span<const BudgetItem> items) {
  uint64_t bytes = 0;
  for (const BudgetItem& item : items) bytes += Smallest(item);
  return bytes;
}

uint64_t LargestUsefulBytes(std::span<const BudgetItem> items) {
  uint64_t bytes = 0;
  for (const BudgetItem& item : items) bytes += item[Frontier(item).back()].bytes;
  return bytes;
}

std::optional<std::vector<size_t>> ChooseWithin(std::span<const BudgetItem> items, uint64_t budget,
                                                size_t max_states) {
  uint64_t rest = SmallestBytes(items);  // what the items to come need at least
  if (rest > budget) return std::nullopt;
  // Large items first: the small ones then fill what is left.
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return Smallest(items[a]) > Smallest(items[b]); });
  std::vector<States> steps = {{State{0, 0, 0, 0}}};
  for (const size_t i : order) {
    rest -= Smallest(items[i]);
    steps.push_back(Extend(steps.back(), items[i], budget - rest));
    Thin(max_states, steps.back());
  }
  std::vector<size_t> chosen(items.size());
  size_t state = steps.back().size() - 1;
  for (size_t step = order.size(); step > 0; --step) {
    const State& at = steps[step][state];
    chosen[order[step - 1]] = at.candidate;
    state = at.parent;
  }
  return chosen;
}

}  // namespace quern::quant
