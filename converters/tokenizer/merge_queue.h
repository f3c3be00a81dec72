// Merging neighbours, best pair first: the loop that all kinds of BPE share.
#ifndef QUERN_CONVERTERS_TOKENIZER_MERGE_QUEUE_H_
#define QUERN_CONVERTERS_TOKENIZER_MERGE_QUEUE_H_

#include <cstddef>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

namespace quern::converters {

// A merge that is possible: the lowest order comes first, then the leftmost.
template <typename Order, typename Symbol>
struct PossibleMerge {
  Order order;
  Symbol result;
};

// Merges until no pair of neighbours is found. `find(left, right)` gives an optional PossibleMerge
// and is a function of its arguments alone. O(n log n) in the number of symbols.
template <typename Order, typename Symbol, typename Find>
void MergeBest(std::vector<Symbol>& symbols, const Find& find) {
  constexpr size_t kNone = ~size_t{0};
  struct Link {
    size_t previous;
    size_t next;
    bool alive = true;
  };
  struct Candidate {
    Order order;
    size_t position;
    Symbol left;
    Symbol right;
    Symbol result;
    bool operator<(const Candidate& other) const {  // a queue's top is its greatest
      return other.order < order || (!(order < other.order) && position > other.position);
    }
  };
  std::vector<Link> links(symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i)
    links[i] = {i == 0 ? kNone : i - 1, i + 1 == symbols.size() ? kNone : i + 1};
  std::vector<Candidate> first;
  const auto possible = [&](size_t position) -> std::optional<Candidate> {
    const size_t next = links[position].next;
    if (next == kNone) return std::nullopt;
    const auto merge = find(symbols[position], symbols[next]);
    if (!merge) return std::nullopt;
    return Candidate{merge->order, position, symbols[position], symbols[next], merge->result};
  };
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (auto candidate = possible(i)) first.push_back(std::move(*candidate));
  }
  std::priority_queue<Candidate> queue({}, std::move(first));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Link& link = links[best.position];
    // The pair is no longer the one that was considered: its own candidate is in the queue.
    if (!link.alive || link.next == kNone || symbols[best.position] != best.left ||
        symbols[link.next] != best.right)
      continue;
    symbols[best.position] = best.result;
    links[link.next].alive = false;
    link.next = links[link.next].next;
    if (link.next != kNone) links[link.next].previous = best.position;
    for (const size_t position : {link.previous, best.position}) {
      if (position == kNone) continue;
      if (auto candidate = possible(position)) queue.push(std::move(*candidate));
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (links[i].alive) symbols[kept++] = symbols[i];
  }
  symbols.resize(kept);
}

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_MERGE_QUEUE_H_
