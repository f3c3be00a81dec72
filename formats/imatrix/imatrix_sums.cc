#include "formats/imatrix/imatrix_sums.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/core/error.h"

namespace quern::formats::imatrix {
namespace {

void AddEntry(const ImatrixEntry& earlier, int64_t tokens_per_count, const Where& where,
              SumsEntry& entry) {
  const size_t rows = entry.counts.size();
  const size_t columns = entry.columns();
  for (size_t row = 0; row < rows; ++row) {
    const int64_t stored = earlier.counts[earlier.counts.size() == 1 ? 0 : row];
    if (stored <= 0) continue;
    int64_t count;
    if (__builtin_mul_overflow(stored, tokens_per_count, &count) ||
        __builtin_add_overflow(entry.counts[row], count, &entry.counts[row])) {
      throw Error(ErrorCode::kLimitExceeded, where,
                  "the counts are too large to be added; make the importance matrix again");
    }
    for (size_t i = row * columns; i < (row + 1) * columns; ++i) {
      entry.sums[i] += static_cast<double>(earlier.values[i]) * static_cast<double>(count);
    }
  }
}

}  // namespace

int64_t ImatrixSums::ChunkCount() const {
  int64_t most = 0;
  for (const auto& [name, entry] : entries) {
    most = std::max(most, *std::max_element(entry.counts.begin(), entry.counts.end()));
  }
  return most / chunk_size;
}

SumsEntry& EntryFor(ImatrixSums& sums, std::string_view name, size_t rows, size_t columns) {
  const auto at = sums.entries.find(name);
  if (at == sums.entries.end()) {
    SumsEntry entry{std::vector<double>(rows * columns), std::vector<int64_t>(rows)};
    return sums.entries.emplace(std::string(name), std::move(entry)).first->second;
  }
  SumsEntry& entry = at->second;
  const bool spreads = entry.counts.size() == 1 && entry.sums.size() == rows * columns;
  if (spreads) entry.counts.resize(rows, entry.counts.front());
  if (entry.counts.size() != rows || entry.columns() != columns) {
    throw Error(ErrorCode::kMismatch, {{}, {}, Printable(name)},
                fmt::format("has {} x {} importance values in one place and {} x {} in another; "
                            "merge only what was made from the same model",
                            entry.counts.size(), entry.columns(), rows, columns));
  }
  return entry;
}

void AddImatrix(const Imatrix& earlier, const std::string& file, ImatrixSums& sums) {
  const int64_t tokens_per_count = earlier.counts_chunks ? int64_t{sums.chunk_size} : 1;
  for (const auto& [name, entry] : earlier.entries) {
    const auto at = sums.entries.find(name);
    // A single count serves as many rows as the other side has.
    const bool spreads = at != sums.entries.end() && entry.counts.size() == 1 &&
                         entry.values.size() == at->second.sums.size();
    const size_t rows = spreads ? at->second.counts.size() : entry.counts.size();
    try {
      AddEntry(entry, tokens_per_count, {file, {}, Printable(name)},
               EntryFor(sums, name, rows, entry.values.size() / rows));
    } catch (const Error& error) {
      throw Error(error.code(), {file, {}, Printable(name)}, error.message());
    }
  }
  sums.datasets.insert(sums.datasets.end(), earlier.datasets.begin(), earlier.datasets.end());
}

}  // namespace quern::formats::imatrix
