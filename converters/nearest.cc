#include "converters/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace quern::converters {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::vector<std::string> NearestNames(std::string_view name, std::span<const std::string> names,
                                      size_t count) {
  constexpr size_t kLongestCompared = 200;  // names come from untrusted files
  name = name.substr(0, kLongestCompared);
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& known : names) {
    const size_t distance = EditDistance(name, known);
    if (distance * 2 <= std::max(name.size(), known.size())) ranked.emplace_back(distance, known);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (size_t i = 0; i < std::min(count, ranked.size()); ++i) nearest.push_back(ranked[i].second);
  return nearest;
}

}  // namespace quern::converters
