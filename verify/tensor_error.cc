#include "verify/tensor_error.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include "quant/codec.h"
#include "quant/finite.h"
#include "verify/reference/parallel.h"
#include "verify/sha256.h"

namespace quern::verify {
namespace {

using converters::Expression;
using quant::ErrorStatistics;

// Bytes of one side's weights in a slab: what stays in a core's cache.
constexpr uint64_t kSlabBytes = uint64_t{512} << 10;
// Slabs of each thread until their results are added up.
constexpr uint64_t kSlabsPerRound = 8;

// What one thread needs for a row, or a slab of rows, of one side.
struct Side {
  std::vector<uint8_t> bytes;
  std::vector<float> values;

  void Read(const Comparand& tensor, uint64_t first, uint64_t count) {
    const Expression& value = *tensor.value;
    bytes.resize(count * RowBytes(value.type, value.columns()).value());
    converters::EvaluateRows(*tensor.source, value, first, count, bytes);
  }
  void Decode(const Comparand& tensor, uint64_t first, uint64_t count) {
    Read(tensor, first, count);
    values.resize(count * tensor.value->columns());
    quant::FindCodec(tensor.value->type)->dequantize(bytes.data(), values.data(), values.size());
  }
};

// The two sides that this thread works on.
struct Sides {
  Side a, b;
};

Sides& OfThisThread() {
  thread_local Sides sides;
  return sides;
}

struct RowResult {
  ErrorStatistics errors;
  uint64_t different = 0;
  std::optional<WeightDifference> first, largest;
  NonFinite a, b;
};

int Threads(const CompareOptions& options) {
  return options.threads > 0 ? options.threads : omp_get_max_threads();
}

// Rows of a slab, of which each thread holds both sides, coded and decoded.
uint64_t RowsPerSlab(const Expression& a, const Expression& b, const CompareOptions& options) {
  const uint64_t memory = options.memory > 0 ? options.memory : kDefaultCompareMemory;
  const uint64_t per_row = RowBytes(a.type, a.columns()).value() +
                           RowBytes(b.type, b.columns()).value() + 2 * a.columns() * sizeof(float) +
                           kSlabsPerRound * sizeof(RowResult);
  const uint64_t rows = std::min(memory / static_cast<uint64_t>(Threads(options)) / per_row,
                                 kSlabBytes / (a.columns() * sizeof(float) + 1));
  const uint64_t grain =
      std::max<uint64_t>(1, std::lcm(converters::RowGranularity(a), converters::RowGranularity(b)));
  return std::clamp<uint64_t>(rows / grain * grain, grain, std::max(grain, a.rows()));
}

// Calls body(slab, first row, rows) for the slabs in parallel, and after(slabs) on this thread when
// a round of them, numbered from 0, is done.
template <typename Body, typename After>
void ForEachSlab(const Expression& a, const Expression& b, const CompareOptions& options,
                 const Body& body, const After& after) {
  const uint64_t slab = RowsPerSlab(a, b, options);
  const uint64_t round = slab * kSlabsPerRound * static_cast<uint64_t>(Threads(options));
  for (uint64_t begin = 0; begin < a.rows(); begin += round) {
    if (options.step) options.step();
    const uint64_t end = std::min(begin + round, a.rows());
    const uint64_t slabs = (end - begin + slab - 1) / slab;
    ParallelFor(Threads(options), slabs, [&](size_t i) {
      const uint64_t first = begin + i * slab;
      body(i, first, std::min(slab, end - first));
    });
    if (!after(slabs)) return;
  }
}

void Count(float value, NonFinite& counts) {
  counts.nan += std::isnan(value);
  counts.infinite += std::isinf(value);
}

// Counts what is not finite and puts 0 over both weights of such a pair.
void SetAside(uint64_t row, std::span<float> a, std::span<float> b, RowResult& result) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(a[i]) && std::isfinite(b[i])) continue;
    Count(a[i], result.a);
    Count(b[i], result.b);
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    if (!same) {
      ++result.different;
      if (!result.first) result.first = {row, i, a[i], b[i]};
    }
    a[i] = b[i] = 0;
    --result.errors.count;
  }
}

RowResult CompareRow(uint64_t row, std::span<float> a, std::span<float> b, uint64_t block) {
  RowResult result;
  result.errors.count = a.size();
  if (quant::FirstNonFinite(a) || quant::FirstNonFinite(b)) SetAside(row, a, b, result);
  const uint64_t finite = result.errors.count;
  result.errors = quant::MeasureRow(a, b, {}, block, row);
  result.errors.count = finite;
  uint64_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) different += a[i] != b[i];
  if (different == 0) return result;
  result.different += different;
  const auto difference = [&](size_t i) { return WeightDifference{row, i, a[i], b[i]}; };
  size_t first = 0, largest = 0;
  while (a[first] == b[first]) ++first;
  if (!result.first || first < result.first->column) result.first = difference(first);
  const auto error = [&](size_t i) { return std::abs(a[i] - b[i]); };
  for (size_t i = first; i < a.size(); ++i) {
    if (error(i) > error(largest)) largest = i;
  }
  result.largest = difference(largest);
  return result;
}

void Add(const RowResult& row, TensorError& sum) {
  const bool larger =
      row.largest && (!sum.largest || row.errors.largest_error > sum.errors.largest_error);
  if (larger) sum.largest = row.largest;
  if (!sum.first) sum.first = row.first;
  sum.errors.Add(row.errors);
  sum.different += row.different;
  sum.a.nan += row.a.nan;
  sum.a.infinite += row.a.infinite;
  sum.b.nan += row.b.nan;
  sum.b.infinite += row.b.infinite;
}

}  // namespace

bool HasValues(TensorType type) {
  const quant::Codec* codec = quant::FindCodec(type);
  return codec != nullptr && codec->dequantize != nullptr;
}

bool SameBytes(const Comparand& a, const Comparand& b, const CompareOptions& options) {
  std::atomic<bool> same = true;
  ForEachSlab(
      *a.value, *b.value, options,
      [&](size_t, uint64_t first, uint64_t count) {
        if (!same.load(std::memory_order_relaxed)) return;
        Sides& sides = OfThisThread();
        sides.a.Read(a, first, count);
        sides.b.Read(b, first, count);
        if (sides.a.bytes != sides.b.bytes) same = false;
      },
      [&](uint64_t) { return same.load(); });
  return same;
}

TensorError MeasureTensorError(const Comparand& a, const Comparand& b,
                               const CompareOptions& options) {
  const uint64_t columns = a.value->columns();
  const bool of_a = IsQuantized(a.value->type) && !IsQuantized(b.value->type);
  const uint64_t block = quant::ErrorBlock(of_a ? a.value->type : b.value->type);
  TensorError sum{.block = block, .columns = columns, .weights = a.value->rows() * columns};
  std::vector<std::vector<RowResult>> results(kSlabsPerRound *
                                              static_cast<uint64_t>(Threads(options)));
  ForEachSlab(
      *a.value, *b.value, options,
      [&](size_t slab, uint64_t first, uint64_t count) {
        Sides& sides = OfThisThread();
        sides.a.Decode(a, first, count);
        sides.b.Decode(b, first, count);
        results[slab].clear();
        for (uint64_t i = 0; i < count; ++i) {
          results[slab].push_back(
              CompareRow(first + i, std::span(sides.a.values).subspan(i * columns, columns),
                         std::span(sides.b.values).subspan(i * columns, columns), block));
        }
      },
      [&](uint64_t slabs) {
        for (uint64_t slab = 0; slab < slabs; ++slab) {
          for (const RowResult& row : results[slab]) Add(row, sum);
        }
        return true;
      });
  return sum;
}

std::string HashValues(const Comparand& tensor, const CompareOptions& options) {
  const Expression& value = *tensor.value;
  const uint64_t slab = RowsPerSlab(value, value, options);
  const bool decoded = HasValues(value.type);
  Side side;
  Sha256 hash;
  for (uint64_t first = 0; first < value.rows(); first += slab) {
    if (options.step) options.step();
    const uint64_t count = std::min(slab, value.rows() - first);
    if (decoded) {
      side.Decode(tensor, first, count);
      hash.Update({reinterpret_cast<const uint8_t*>(side.values.data()),
                   side.values.size() * sizeof(float)});
    } else {
      side.Read(tensor, first, count);
      hash.Update(side.bytes);
    }
  }
  return hash.HexDigest();
}

}  // namespace quern::verify
