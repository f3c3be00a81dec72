#include "quant/error_statistics.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "quant/codec.h"
#include "tests/quant/weights_testing.h"

namespace quern::quant {
namespace {

using testing::Distribution;

struct Row {
  std::vector<float> weights, decoded, importance;
};

Row MakeRow(size_t columns, uint64_t seed) {
  Row row{std::vector<float>(columns), std::vector<float>(columns),
          testing::MakeImportance(testing::Importance::kSquares, seed, columns)};
  testing::FillWeights(Distribution::kStudent, seed, row.weights);
  testing::Random random(seed + 1);
  for (size_t i = 0; i < columns; ++i) {
    row.decoded[i] = row.weights[i] * (1 + 0.1f * random.Normal());
  }
  return row;
}

TEST(ErrorStatistics, EqualsTheDefinitionInLongDouble) {
  for (const size_t columns : {1, 7, 8, 9, 31, 32, 100, 256, 1000, 1024}) {
    const Row row = MakeRow(columns, columns);
    const ErrorStatistics actual =
        MeasureRow(row.weights, row.decoded, row.importance, /*block=*/32, /*row=*/5);
    long double e = 0, x = 0, y = 0, xy = 0, we = 0, wx = 0, largest = 0, worst = -1;
    size_t worst_column = 0;
    for (size_t first = 0; first < columns; first += 32) {
      const size_t end = std::min(first + 32, columns);
      long double sum = 0;
      for (size_t i = first; i < end; ++i) {
        const float difference = row.weights[i] - row.decoded[i];
        const long double a = row.weights[i], b = row.decoded[i], d = difference;
        sum += d * d;
        x += a * a;
        y += b * b;
        xy += a * b;
        we += row.importance[i] * d * d;
        wx += row.importance[i] * a * a;
        largest = std::max(largest, std::abs(d));
      }
      e += sum;
      if (sum / static_cast<long double>(end - first) > worst) {
        worst = sum / static_cast<long double>(end - first);
        worst_column = first;
      }
    }
    const auto n = static_cast<long double>(columns);
    EXPECT_EQ(actual.count, columns);
    EXPECT_NEAR(actual.Rmse(), std::sqrt(e / n), 1e-12 * actual.Rmse());
    EXPECT_NEAR(actual.RelativeRmse(), std::sqrt(e / x), 1e-12);
    EXPECT_NEAR(actual.WeightedRelativeRmse(), std::sqrt(we / wx), 1e-12);
    EXPECT_NEAR(actual.Cosine(), xy / std::sqrt(x * y), 1e-6);  // differences are rounded to f32
    EXPECT_EQ(actual.largest_error, static_cast<double>(largest));
    EXPECT_EQ(actual.worst.row, 5u);
    EXPECT_EQ(actual.worst.column, worst_column);
    EXPECT_EQ(actual.worst.columns, std::min<size_t>(32, columns - worst_column));
  }
}

TEST(ErrorStatistics, EveryInstructionSetGivesTheSameBits) {
  const Row row = MakeRow(1003, 3);
  const ErrorStatistics expected =
      MeasureRow(row.weights, row.decoded, row.importance, /*block=*/32, 0);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const bool weighted : {false, true}) {
      const ErrorStatistics actual =
          MeasureRow(row.weights, row.decoded,
                     weighted ? std::span<const float>(row.importance) : std::span<const float>(),
                     /*block=*/32, 0);
      EXPECT_EQ(actual.squared_error, expected.squared_error);
      EXPECT_EQ(actual.squared_weights, expected.squared_weights);
      EXPECT_EQ(actual.squared_decoded, expected.squared_decoded);
      EXPECT_EQ(actual.weighted_squared_error, weighted ? expected.weighted_squared_error : 0);
      EXPECT_EQ(actual.largest_error, expected.largest_error);
      EXPECT_EQ(actual.worst.column, expected.worst.column);
      EXPECT_EQ(actual.worst.mean_square, expected.worst.mean_square);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ErrorStatistics, RowsAddUpAndTheFirstOfEqualWorstBlocksStays) {
  std::vector<float> weights(64, 1.0f), decoded(64, 1.0f);
  decoded[40] = 3.0f;
  ErrorStatistics sum = MeasureRow(weights, decoded, {}, 32, 0);
  sum.Add(MeasureRow(weights, decoded, {}, 32, 1));
  EXPECT_EQ(sum.count, 128u);
  EXPECT_EQ(sum.squared_error, 8);
  EXPECT_EQ(sum.largest_error, 2);
  EXPECT_EQ(sum.worst.row, 0u);
  EXPECT_EQ(sum.worst.column, 32u);
  EXPECT_EQ(sum.worst.mean_square, 4.0 / 32);
}

TEST(ErrorStatistics, ZerosHaveNoErrorAndACosineOfOne) {
  const std::vector<float> zeros(32), ones(32, 1.0f);
  const ErrorStatistics none = MeasureRow(zeros, zeros, {}, 32, 0);
  EXPECT_EQ(none.Rmse(), 0);
  EXPECT_EQ(none.RelativeRmse(), 0);
  EXPECT_EQ(none.Cosine(), 1);
  EXPECT_EQ(none.worst.mean_square, 0);
  EXPECT_EQ(MeasureRow(ones, zeros, {}, 32, 0).Cosine(), 0);
  EXPECT_EQ(MeasureRow(ones, ones, {}, 32, 0).Cosine(), 1);
  EXPECT_EQ(ErrorStatistics().Rmse(), 0);
}

// More bits, less error: for each type whose blocks have the same form.
TEST(ErrorStatistics, ErrorsFallWithBits) {
  const Row row = MakeRow(4096, 11);
  const auto error = [&](TensorType type) {
    const Codec& codec = *FindCodec(type);
    std::vector<uint8_t> blocks(*RowBytes(type, row.weights.size()));
    std::vector<float> decoded(row.weights.size());
    codec.quantize(row.weights.data(), blocks.data(), 1, row.weights.size(), nullptr);
    codec.dequantize(blocks.data(), decoded.data(), decoded.size());
    return MeasureRow(row.weights, decoded, {}, ErrorBlock(type), 0).RelativeRmse();
  };
  using T = TensorType;
  EXPECT_GT(error(T::kQ2_K), error(T::kQ3_K));
  EXPECT_GT(error(T::kQ3_K), error(T::kQ4_K));
  EXPECT_GT(error(T::kQ4_K), error(T::kQ5_K));
  EXPECT_GT(error(T::kQ5_K), error(T::kQ6_K));
  EXPECT_GT(error(T::kQ6_K), error(T::kQ8_0));
  EXPECT_GT(error(T::kQ8_0), error(T::kF16));
  EXPECT_EQ(error(T::kF32), 0);
}

}  // namespace
}  // namespace quern::quant
