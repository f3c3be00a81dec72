#include "converters/error_report.h"

#include <gtest/gtest.h>

#include "quant/codec.h"
#include "tests/converters/fake_source.h"

namespace quern::converters {
namespace {

// One matrix of 8 rows of 64 weights that becomes Q8_0, and a vector that is copied.
class ErrorReportTest : public ::testing::Test {
 protected:
  ErrorReportTest() {
    source_.Add("a.weight", {8, 64});
    source_.Add("b.bias", {64});
    for (const TensorInfo& tensor : source_.tensors()) {
      model_.tensors.push_back({tensor.name, Source(tensor)});
    }
    plan_.type_name = "Q8_0";
    plan_.file_bytes = 1000;
    plan_.tensors.push_back(
        {.tensor = 0, .type = TensorType::kQ8_0, .shape = {8, 64}, .bytes = 8 * 68});
    plan_.tensors.push_back(
        {.tensor = 1, .type = TensorType::kF32, .shape = {64}, .bytes = 64 * 4});
  }

  // Rows [first, first + rows) of weights row + 1, of which the first has lost `row`.
  SlabErrors Errors(uint64_t first, uint64_t rows) const {
    const quant::Codec& codec = *quant::FindCodec(TensorType::kQ8_0);
    SlabErrors errors;
    errors.Start(first);
    for (uint64_t row = first; row < first + rows; ++row) {
      std::vector<float> weights(64, static_cast<float>(row + 1));
      std::vector<uint8_t> blocks(68);
      codec.quantize(weights.data(), blocks.data(), 1, 64, nullptr);
      weights[33] += static_cast<float>(row);
      errors.Measure(weights, TensorType::kQ8_0, blocks.data(), 64, nullptr);
    }
    return errors;
  }

  FakeSource source_;
  OutputModel model_;
  WritePlan plan_;
};

TEST_F(ErrorReportTest, DoesNotDependOnTheOrderOfSlabs) {
  ErrorReport whole(model_, {&plan_}), parts(model_, {&plan_});
  whole.Add(0, 0, Errors(0, 8));
  for (const auto& [first, rows] : {std::pair{6, 2}, {1, 3}, {4, 2}, {0, 1}}) {
    EXPECT_EQ(parts.Of(0, 0), nullptr);  // not before all rows are there
    parts.Add(0, 0, Errors(static_cast<uint64_t>(first), static_cast<uint64_t>(rows)));
  }
  EXPECT_EQ(whole.ToJson(0).dump(), parts.ToJson(0).dump());
}

TEST_F(ErrorReportTest, TellsErrorsWorstBlockAndSizes) {
  ErrorReport report(model_, {&plan_});
  report.Add(0, 0, Errors(0, 8));
  const Json json = report.ToJson(0);
  const Json& a = json["tensors"][0];
  EXPECT_EQ(a["name"], "a.weight");
  EXPECT_EQ(a["type"], "Q8_0");
  EXPECT_EQ(a["source_type"], "F32");
  EXPECT_EQ(a["bits_per_weight"], 8.5);
  EXPECT_NEAR(a["max_error"].get<double>(), 7, 0.01);
  EXPECT_EQ(a["worst_block"]["row"], 7);
  EXPECT_EQ(a["worst_block"]["columns"], Json::array({32, 64}));
  EXPECT_EQ(a["worst_block"]["index"], 15);
  EXPECT_NEAR(a["worst_block"]["rmse"].get<double>(), 7 / std::sqrt(32.0), 0.01);
  EXPECT_FALSE(a.contains("weighted_relative_rmse"));
  EXPECT_EQ(json["tensors"][1]["copied"], true);
  EXPECT_FALSE(json["tensors"][1].contains("rmse"));
  EXPECT_EQ(json["totals"]["weights"], 9 * 64);
  EXPECT_EQ(json["totals"]["measured_weights"], 8 * 64);
  EXPECT_EQ(json["totals"]["bytes"], 8 * 68 + 64 * 4);
}

}  // namespace
}  // namespace quern::converters
