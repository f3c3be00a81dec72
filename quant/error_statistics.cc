#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/error_statistics.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "quant/error_statistics.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Every target keeps this many sums, in as many vectors as that takes.
constexpr size_t kLanes = 8;

using DD = hn::CappedTag<double, kLanes>;
using DF = hn::Rebind<float, DD>;
constexpr size_t kVectorLanes = hn::MaxLanes(DD());
constexpr size_t kVectors = kLanes / kVectorLanes;

// kLanes sums of doubles. Their order is the same whatever the vectors' width.
class Sums {
 public:
  Sums() { std::fill(std::begin(sums_), std::end(sums_), hn::Zero(DD())); }

  HWY_INLINE void Add(size_t vector, hn::Vec<DD> value) {
    sums_[vector] = hn::Add(sums_[vector], value);
  }

  // A fixed tree; `tail` holds kLanes sums of what did not fill the vectors.
  HWY_INLINE double Total(const double* tail) const {
    HWY_ALIGN double lanes[kLanes];
    for (size_t v = 0; v < kVectors; ++v) hn::Store(sums_[v], DD(), lanes + v * kVectorLanes);
    for (size_t l = 0; l < kLanes; ++l) lanes[l] += tail[l];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }

 private:
  hn::Vec<DD> sums_[kVectors];
};

constexpr double kNoTail[kLanes] = {};

template <bool kWeighted>
void MeasureBlocks(const float* weights, const float* decoded, const float* importance,
                   size_t columns, size_t block, ErrorStatistics& result) {
  const DD dd;
  const DF df;
  Sums squared_weights, squared_decoded, weighted_error, weighted_weights;
  double weights_tail[kLanes] = {}, decoded_tail[kLanes] = {};
  double weighted_error_tail[kLanes] = {}, weighted_weights_tail[kLanes] = {};
  auto largest = hn::Zero(df);
  float largest_tail = 0;
  for (size_t first = 0; first < columns; first += block) {
    const size_t size = std::min(block, columns - first);
    const float* x = weights + first;
    const float* y = decoded + first;
    Sums error;
    size_t i = 0;
    for (; i + kLanes <= size; i += kLanes) {
#pragma GCC unroll 8  // keeps the sums in registers
      for (size_t v = 0; v < kVectors; ++v) {
        const size_t at = i + v * kVectorLanes;
        const auto original = hn::LoadU(df, x + at), restored = hn::LoadU(df, y + at);
        const auto difference = hn::Sub(original, restored);
        largest = hn::Max(largest, hn::Abs(difference));
        const auto xd = hn::PromoteTo(dd, original), yd = hn::PromoteTo(dd, restored);
        const auto ed = hn::PromoteTo(dd, difference);
        const auto ee = hn::Mul(ed, ed), xx = hn::Mul(xd, xd);
        error.Add(v, ee);
        squared_weights.Add(v, xx);
        squared_decoded.Add(v, hn::Mul(yd, yd));
        if constexpr (kWeighted) {
          const auto w = hn::PromoteTo(dd, hn::LoadU(df, importance + first + at));
          weighted_error.Add(v, hn::Mul(w, ee));
          weighted_weights.Add(v, hn::Mul(w, xx));
        }
      }
    }
    double error_tail[kLanes] = {};
    for (size_t l = 0; i < size; ++i, ++l) {
      const float difference = x[i] - y[i];
      largest_tail = std::max(largest_tail, std::abs(difference));
      const double xd = x[i], yd = y[i], ed = difference;
      error_tail[l] += ed * ed;
      weights_tail[l] += xd * xd;
      decoded_tail[l] += yd * yd;
      if constexpr (kWeighted) {
        const double w = importance[first + i];
        weighted_error_tail[l] += w * (ed * ed);
        weighted_weights_tail[l] += w * (xd * xd);
      }
    }
    const double sum = error.Total(error_tail);
    result.squared_error += sum;
    const double mean = sum / static_cast<double>(size);
    if (mean > result.worst.mean_square) {
      result.worst = {.mean_square = mean, .column = first, .columns = size};
    }
  }
  result.squared_weights = squared_weights.Total(weights_tail);
  result.squared_decoded = squared_decoded.Total(decoded_tail);
  result.weighted_squared_error = weighted_error.Total(kWeighted ? weighted_error_tail : kNoTail);
  result.weighted_squared_weights =
      weighted_weights.Total(kWeighted ? weighted_weights_tail : kNoTail);
  const float vector_largest = hn::GetLane(hn::MaxOfLanes(df, largest));
  result.largest_error = std::max(vector_largest, largest_tail);
}

void MeasurePlain(const float* weights, const float* decoded, const float* /*importance*/,
                  size_t columns, size_t block, ErrorStatistics& result) {
  MeasureBlocks<false>(weights, decoded, nullptr, columns, block, result);
}

void MeasureWeighted(const float* weights, const float* decoded, const float* importance,
                     size_t columns, size_t block, ErrorStatistics& result) {
  MeasureBlocks<true>(weights, decoded, importance, columns, block, result);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::quant {
namespace {

HWY_EXPORT(MeasurePlain);
HWY_EXPORT(MeasureWeighted);

double Root(double part, double whole) { return whole > 0 ? std::sqrt(part / whole) : 0; }

}  // namespace

void ErrorStatistics::Add(const ErrorStatistics& next) {
  count += next.count;
  squared_error += next.squared_error;
  squared_weights += next.squared_weights;
  squared_decoded += next.squared_decoded;
  weighted_squared_error += next.weighted_squared_error;
  weighted_squared_weights += next.weighted_squared_weights;
  largest_error = std::max(largest_error, next.largest_error);
  if (next.worst.mean_square > worst.mean_square) worst = next.worst;
}

double ErrorStatistics::Rmse() const { return Root(squared_error, static_cast<double>(count)); }

double ErrorStatistics::RelativeRmse() const { return Root(squared_error, squared_weights); }

double ErrorStatistics::WeightedRelativeRmse() const {
  return Root(weighted_squared_error, weighted_squared_weights);
}

double ErrorStatistics::Cosine() const {
  if (squared_weights == 0 || squared_decoded == 0) return squared_weights == squared_decoded;
  // (x.x + y.y - e.e) / (2 |x| |y|), arranged so that nearly equal vectors lose no digits.
  const double x = std::sqrt(squared_weights), y = std::sqrt(squared_decoded);
  const double cosine = 1 - (squared_error - (x - y) * (x - y)) / (2 * x * y);
  return std::clamp(cosine, -1.0, 1.0);
}

uint64_t ErrorBlock(TensorType type) {
  const uint64_t block = Info(type).block_elements;
  return block > 1 ? block : 256;
}

ErrorStatistics MeasureRow(std::span<const float> weights, std::span<const float> decoded,
                           std::span<const float> importance, uint64_t block, uint64_t row) {
  ErrorStatistics result;
  result.count = weights.size();
  if (importance.empty()) {
    HWY_DYNAMIC_DISPATCH(MeasurePlain)
    (weights.data(), decoded.data(), nullptr, weights.size(), block, result);
  } else {
    HWY_DYNAMIC_DISPATCH(MeasureWeighted)
    (weights.data(), decoded.data(), importance.data(), weights.size(), block, result);
  }
  result.worst.row = row;
  return result;
}

}  // namespace quern::quant
#endif  // HWY_ONCE
