#include "verify/model_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "quant/codec.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::verify {
namespace {

using converters::FakeSource;

std::vector<float> RandomWeights(size_t count, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> weights(count);
  for (float& weight : weights) weight = normal(random);
  return weights;
}

void Add(FakeSource& source, const std::string& name, const Shape& shape,
         const std::vector<float>& weights, TensorType type = TensorType::kF32) {
  const uint64_t columns = shape.back();
  std::vector<uint8_t> bytes(TensorBytes(type, shape).value());
  quant::FindCodec(type)->quantize(weights.data(), bytes.data(), weights.size() / columns, columns,
                                   nullptr);
  source.Add(name, shape, type, std::move(bytes));
}

// Two models, filled by tests.
class ModelDiffTest : public ::testing::Test {
 protected:
  std::vector<TensorDiff> Diff(const DiffOptions& options = {.compare = {.threads = 2}}) {
    model_a_ = converters::AsItIs(a_);
    model_b_ = converters::AsItIs(b_);
    return DiffTensors({a_, model_a_}, {b_, model_b_}, options);
  }

  FakeSource a_, b_;
  converters::OutputModel model_a_, model_b_;
};

TEST_F(ModelDiffTest, NamesTensorAndPositionOfOneChangedWeight) {
  constexpr uint64_t kRows = 700, kColumns = 640;  // several slabs
  auto weights = RandomWeights(kRows * kColumns);
  for (FakeSource* source : {&a_, &b_}) {
    Add(*source, "same.weight", {kRows, kColumns}, weights);
    if (source == &b_) weights[500 * kColumns + 321] += 0.25f;
    Add(*source, "other.weight", {kRows, kColumns}, weights);
  }
  const auto diffs = Diff();
  ASSERT_EQ(diffs.size(), 2u);
  EXPECT_EQ(diffs[0].relation, TensorRelation::kEqualBytes);
  EXPECT_FALSE(diffs[0].error);
  EXPECT_EQ(diffs[1].name(), "other.weight");
  EXPECT_EQ(diffs[1].relation, TensorRelation::kDifferentValues);
  const TensorError& error = diffs[1].error.value();
  EXPECT_EQ(error.different, 1u);
  EXPECT_EQ(error.weights, kRows * kColumns);
  EXPECT_EQ(error.first->row, 500u);
  EXPECT_EQ(error.first->column, 321u);
  EXPECT_EQ(error.largest->row, 500u);
  EXPECT_EQ(error.largest->column, 321u);
  EXPECT_NEAR(error.largest->b - error.largest->a, 0.25, 1e-6);
  EXPECT_EQ(error.errors.worst.row, 500u);
  EXPECT_EQ(error.errors.worst.column, 256u);
  EXPECT_NEAR(error.errors.Rmse(), 0.25 / std::sqrt(static_cast<double>(kRows * kColumns)), 1e-7);
}

TEST_F(ModelDiffTest, FiguresDependOnNeitherThreadsNorMemory) {
  const auto weights = RandomWeights(900 * 320);
  Add(a_, "x", {900, 320}, weights);
  Add(b_, "x", {900, 320}, weights, TensorType::kQ4_0);
  const TensorError one = Diff({.compare = {.threads = 1, .memory = 1 << 16}})[0].error.value();
  const TensorError two = Diff({.compare = {.threads = 3}})[0].error.value();
  EXPECT_EQ(one.errors.squared_error, two.errors.squared_error);
  EXPECT_EQ(one.errors.squared_weights, two.errors.squared_weights);
  EXPECT_EQ(one.different, two.different);
  EXPECT_EQ(one.largest->row, two.largest->row);
  EXPECT_EQ(one.errors.worst.row, two.errors.worst.row);
  EXPECT_EQ(one.block, 32u);
  double squares = 0;
  std::vector<float> decoded(weights.size());
  quant::FindCodec(TensorType::kQ4_0)
      ->dequantize(b_.data("x").data(), decoded.data(), decoded.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    squares += std::pow(static_cast<double>(weights[i]) - static_cast<double>(decoded[i]), 2);
  }
  EXPECT_NEAR(one.errors.Rmse(), std::sqrt(squares / static_cast<double>(weights.size())), 1e-9);
  EXPECT_EQ(one.errors.largest_error, std::abs(one.largest->a - one.largest->b));
}

TEST_F(ModelDiffTest, TakesEqualValuesInAnotherTypeForEqual) {
  std::vector<float> weights = {1, -2, 0.5f, 0, 96, -0.0f, 3, 4};
  Add(a_, "x", {2, 4}, weights);
  weights[3] = -0.0f;
  Add(b_, "x", {2, 4}, weights, TensorType::kBF16);
  const auto diffs = Diff();
  EXPECT_EQ(diffs[0].relation, TensorRelation::kEqualValues);
  EXPECT_TRUE(diffs[0].equal());
  EXPECT_EQ(diffs[0].error->errors.Rmse(), 0);
}

TEST_F(ModelDiffTest, CountsWhatIsNotFiniteApart) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Add(a_, "x", {2, 4}, {1, kNan, kInfinity, 4, kNan, kInfinity, -kInfinity, 2});
  Add(b_, "x", {2, 4}, {1, kNan, kInfinity, 4, 5, 6, kInfinity, 3});
  const TensorError error = Diff()[0].error.value();
  EXPECT_EQ(error.a.nan, 2u);
  EXPECT_EQ(error.b.nan, 1u);
  EXPECT_EQ(error.a.infinite, 3u);
  EXPECT_EQ(error.b.infinite, 2u);
  EXPECT_EQ(error.different, 4u);
  EXPECT_EQ(error.first->row, 1u);
  EXPECT_EQ(error.first->column, 0u);
  EXPECT_EQ(error.largest->column, 3u);  // of the finite ones
  EXPECT_EQ(error.errors.count, 3u);
  EXPECT_EQ(error.errors.largest_error, 1);
  EXPECT_DOUBLE_EQ(error.errors.Rmse(), std::sqrt(1.0 / 3));
}

TEST_F(ModelDiffTest, FindsTensorsUnderTheirNewNames) {
  const auto one = RandomWeights(64, 1), two = RandomWeights(64, 2);
  Add(a_, "old.0", {8, 8}, one);
  Add(a_, "old.1", {8, 8}, one);
  Add(a_, "gone", {8, 8}, two);
  Add(a_, "flat", {64}, two);
  Add(b_, "extra", {8, 8}, RandomWeights(64, 3));
  Add(b_, "new.0", {8, 8}, one);
  Add(b_, "new.1", {8, 8}, one);
  const auto diffs = Diff();
  ASSERT_EQ(diffs.size(), 5u);
  EXPECT_TRUE(diffs[0].renamed());
  EXPECT_EQ(diffs[0].relation, TensorRelation::kEqualBytes);
  EXPECT_FALSE(diffs[0].equal());
  EXPECT_EQ(diffs[0].b->name, "new.0");
  EXPECT_EQ(diffs[1].b->name, "new.1");
  EXPECT_EQ(diffs[2].relation, TensorRelation::kOnlyInA);
  EXPECT_EQ(diffs[3].relation, TensorRelation::kOnlyInA);  // another shape
  EXPECT_EQ(diffs[4].name(), "extra");
  EXPECT_EQ(diffs[4].relation, TensorRelation::kOnlyInB);
}

TEST_F(ModelDiffTest, ComparesBytesWhereThereAreNoValues) {
  a_.Add("ids", {4}, TensorType::kI32, std::vector<uint8_t>(16, 1));
  b_.Add("ids", {4}, TensorType::kI32, std::vector<uint8_t>(16, 2));
  a_.Add("same", {4}, TensorType::kI32, std::vector<uint8_t>(16, 1));
  b_.Add("same", {4}, TensorType::kI32, std::vector<uint8_t>(16, 1));
  a_.Add("type", {4}, TensorType::kI32, std::vector<uint8_t>(16, 1));
  b_.Add("type", {4}, TensorType::kF32, std::vector<uint8_t>(16, 1));
  a_.Add("shape", {4}, TensorType::kI32, std::vector<uint8_t>(16, 1));
  b_.Add("shape", {2, 2}, TensorType::kI32, std::vector<uint8_t>(16, 1));
  a_.Add("empty", {0, 3}, TensorType::kF32, {});
  b_.Add("empty", {0, 3}, TensorType::kF32, {});
  const auto diffs = Diff();
  EXPECT_EQ(diffs[0].relation, TensorRelation::kDifferentBytes);
  EXPECT_EQ(diffs[1].relation, TensorRelation::kEqualBytes);
  EXPECT_EQ(diffs[2].relation, TensorRelation::kDifferentBytes);
  EXPECT_EQ(diffs[3].relation, TensorRelation::kDifferentShape);
  EXPECT_EQ(diffs[4].relation, TensorRelation::kEqualBytes);
}

TEST_F(ModelDiffTest, StopsWhenProgressThrows) {
  for (FakeSource* source : {&a_, &b_}) Add(*source, "x", {8, 8}, RandomWeights(64));
  const auto stop = [](double) { throw Error(ErrorCode::kIo, {}, "stopped"); };
  EXPECT_QUERN_ERROR(Diff({.progress = stop}), ErrorCode::kIo);
  double last = 0;
  Diff({.progress = [&](double done) { last = done; }});
  EXPECT_EQ(last, 1);
}

TEST(MetadataDiffs, AreFoundInWhateverOrder) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  using Strings = std::vector<std::string>;
  Metadata a, b;
  a.Set("same", uint32_t{1});
  a.Set("nan", kNan);
  a.Set("value", std::string("x"));
  a.Set("type", uint32_t{1});
  a.Set("gone", true);
  a.Set("item", Array{Strings{"a", "b", "c"}});
  a.Set("length", Array{Strings{"a", "b"}});
  a.Set("items' type", Array{std::vector<uint8_t>{1}});
  b.Set("new", true);
  b.Set("nan", kNan);
  b.Set("length", Array{Strings{"a", "b", "c"}});
  b.Set("item", Array{Strings{"a", "x", "c"}});
  b.Set("items' type", Array{std::vector<int8_t>{1}});
  b.Set("type", int32_t{1});
  b.Set("value", std::string("y"));
  b.Set("same", uint32_t{1});
  const auto diffs = DiffMetadata(a, b);
  std::vector<std::string> keys;
  for (const MetadataDiff& diff : diffs) keys.push_back(diff.key);
  EXPECT_EQ(keys, (Strings{"value", "type", "gone", "item", "length", "items' type", "new"}));
  EXPECT_EQ(diffs[2].b, nullptr);
  EXPECT_EQ(diffs[3].first, 1u);
  EXPECT_EQ(diffs[4].first, 2u);
  EXPECT_EQ(diffs[5].first, std::nullopt);
  EXPECT_EQ(diffs[6].a, nullptr);
  EXPECT_TRUE(DiffMetadata(a, a).empty());
}

}  // namespace
}  // namespace quern::verify
