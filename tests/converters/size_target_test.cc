#include "converters/size_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "formats/core/error.h"
#include "quant/codec.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using T = TensorType;

// A small model of F32 matrices with norms, as a GGUF source gives it: two blocks and an output.
class SlowSizeTarget : public ::testing::Test {
 protected:
  SlowSizeTarget() {
    Add("token_embd.weight", {512, 256}, 1);
    for (int block = 0; block < 2; ++block) {
      const std::string prefix = "blk." + std::to_string(block) + ".";
      Add(prefix + "attn_norm.weight", {256}, 1);
      Add(prefix + "attn_q.weight", {256, 256}, 1);
      Add(prefix + "attn_v.weight", {96, 256}, 1);
      Add(prefix + "ffn_down.weight", {256, 512}, 1 + block);
      Add(prefix + "ffn_up.weight", {512, 256}, 1);
    }
    Add("output.weight", {512, 256}, 1);
    model_.architecture = "llama";
    model_.metadata.Set("general.architecture", std::string("llama"));
    model_.metadata.Set("llama.block_count", uint32_t{2});
    Rebuild();
  }

  // After every tensor that was added.
  void Rebuild() {
    model_.tensors.clear();
    for (const TensorInfo& tensor : source_.tensors()) {
      model_.tensors.push_back({tensor.name, Source(tensor), tensor.shape.size() == 1});
    }
  }

  // Normal weights; the larger `tail`, the more outliers.
  void Add(const std::string& name, Shape shape, int tail) {
    const uint64_t count =
        std::accumulate(shape.begin(), shape.end(), uint64_t{1}, std::multiplies<>());
    std::vector<uint8_t> data(count * 4);
    std::mt19937_64 random(std::hash<std::string>{}(name));
    for (uint64_t i = 0; i < count; ++i) {
      double sum = -6;  // of twelve uniform numbers: nearly normal, the same everywhere
      for (int k = 0; k < 12; ++k) sum += static_cast<double>(random() >> 11) * 0x1p-53;
      const auto weight =
          static_cast<float>(0.02 * std::pow(std::abs(sum), tail) * (sum < 0 ? -1.0 : 1.0));
      std::memcpy(data.data() + 4 * i, &weight, 4);
    }
    source_.Add(name, std::move(shape), T::kF32, std::move(data));
  }

  TypeSelection Select(const SizeTarget& target, int threads = 1) {
    return SelectTypes(source_, model_, options_, target, {.threads = threads});
  }

  WritePlan Plan(const SizeTarget& target) {
    const TypeSelection selection = Select(target);
    PlanOptions options = options_;
    options.selection = &selection;
    return MakePlan(model_, options);
  }

  const PlannedTensor& Planned(const WritePlan& plan, const std::string& name) const {
    return *std::find_if(plan.tensors.begin(), plan.tensors.end(), [&](const auto& planned) {
      return model_.tensors[planned.tensor].name == name;
    });
  }

  uint64_t FileBytesOf(std::string_view type) const {
    PlanOptions options = options_;
    options.file_type = quant::FindFileType(type);
    return MakePlan(model_, options).file_bytes;
  }

  static double Bits(const WritePlan& plan) {
    uint64_t bytes = 0, weights = 0;
    for (const auto& planned : plan.tensors) {
      bytes += planned.bytes;
      weights += std::accumulate(planned.shape.begin(), planned.shape.end(), uint64_t{1},
                                 std::multiplies<>());
    }
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
  }

  FakeSource source_;
  OutputModel model_;
  PlanOptions options_;
};

TEST_F(SlowSizeTarget, FileIsNeverLargerThanTheTargetAndNearIt) {
  const uint64_t smallest = FileBytesOf("TQ2_0"), largest = FileBytesOf("Q8_0");
  for (uint64_t target = smallest; target < largest; target += (largest - smallest) / 5) {
    const WritePlan plan = Plan(FileBytes{target});
    EXPECT_LE(plan.file_bytes, target);
    EXPECT_GT(static_cast<double>(plan.file_bytes), 0.98 * static_cast<double>(target));
  }
}

TEST_F(SlowSizeTarget, BitsPerWeightCountAllTensorsAndNoHeader) {
  for (const double bits : {2.5, 3.3, 4.2, 5.0, 6.7, 9.0, 14.0}) {
    const double actual = Bits(Plan(BitsPerWeight{bits}));
    EXPECT_LE(actual, bits);
    EXPECT_GT(actual, 0.98 * bits);
  }
}

TEST_F(SlowSizeTarget, MoreBitsNeverGiveMoreError) {
  double last = 1e9;
  for (const double bits : {2.5, 3.5, 4.5, 5.5, 6.5, 8.0}) {
    const WritePlan plan = Plan(BitsPerWeight{bits});
    double error = 0;
    for (const auto& planned : plan.tensors) {
      const OutputTensor& tensor = model_.tensors[planned.tensor];
      if (planned.type == tensor.value.type) continue;
      const TypeTrial trial{&tensor, {}, {}, {planned.type}};
      const double relative = TryTypes(source_, {&trial, 1}, {})[0][0].RelativeRmse();
      const bool is_output = tensor.name == "output.weight";
      error += relative * relative * (is_output ? 8 : tensor.name == "token_embd.weight" ? 2 : 1);
    }
    EXPECT_LT(error, last) << bits;
    last = error;
  }
}

TEST_F(SlowSizeTarget, ChoiceDoesNotDependOnThreads) {
  const TypeSelection one = Select(BitsPerWeight{4.2}, 1);
  for (const int threads : {2, 3, 8}) {
    const TypeSelection many = Select(BitsPerWeight{4.2}, threads);
    EXPECT_EQ(many.type_name, one.type_name);
    EXPECT_EQ(many.notes, one.notes);
    for (size_t i = 0; i < one.choices.size(); ++i) {
      EXPECT_EQ(many.choices[i].reason, one.choices[i].reason);
    }
  }
}

TEST_F(SlowSizeTarget, ReasonsAndNotesTellWhatWasChosen) {
  const WritePlan plan = Plan(BitsPerWeight{4.2});
  EXPECT_THAT(Planned(plan, "blk.0.attn_q.weight").reason, StartsWith("size target: "));
  EXPECT_THAT(Planned(plan, "blk.0.attn_norm.weight").reason, HasSubstr("kept F32"));
  EXPECT_THAT(plan.notes, ::testing::Contains(HasSubstr("below the target")));
  EXPECT_THAT(plan.type_name, ::testing::AnyOf("4.20bpw", "4.19bpw", "4.18bpw", "4.17bpw"));
}

TEST_F(SlowSizeTarget, FileTypeIsThatOfMostBytesMarkedAsAGuess) {
  options_.recipe.tensor_types = {{"blk|token_embd|output", T::kQ6_K}};
  const WritePlan plan = Plan(BitsPerWeight{8.0});
  EXPECT_EQ(plan.metadata.GetInteger("general.file_type"), 1024 + quant::FindFileType("Q6_K")->id);
}

TEST_F(SlowSizeTarget, OptionsDecideForTheirTensors) {
  options_.recipe.leave_output_tensor = true;
  options_.recipe.token_embedding_type = T::kQ8_0;
  options_.recipe.tensor_types = {{"attn_v", T::kQ5_1}};
  const WritePlan plan = Plan(BitsPerWeight{12.0});
  EXPECT_EQ(Planned(plan, "output.weight").type, T::kF32);
  EXPECT_EQ(Planned(plan, "token_embd.weight").type, T::kQ8_0);
  EXPECT_EQ(Planned(plan, "blk.1.attn_v.weight").type, T::kQ5_1);
}

TEST_F(SlowSizeTarget, TypesThatNeedImportanceAreOnlyForTensorsThatHaveIt) {
  quant::Imatrix imatrix;
  for (const char* name : {"attn_q", "attn_v", "ffn_up"}) {
    imatrix.entries[std::string("blk.0.") + name + ".weight"] = {std::vector<float>(256, 1.0f),
                                                                 {1}};
  }
  options_.imatrix = &imatrix;
  size_t needing = 0;
  for (const double bits : {1.8, 2.2, 2.8}) {
    for (const auto& planned : Plan(BitsPerWeight{bits}).tensors) {
      if (!quant::NeedsImportance(planned.type)) continue;
      ++needing;
      EXPECT_TRUE(imatrix.entries.contains(model_.tensors[planned.tensor].name));
    }
  }
  EXPECT_GT(needing, 0u);
}

TEST_F(SlowSizeTarget, ImportanceDecidesWhichTensorGetsTheBits) {
  // All error of ffn_up in columns that do not matter: its weights there are hundred times the
  // others, so that without importance only they count.
  const WritePlan plain = Plan(BitsPerWeight{3.5});
  quant::Imatrix imatrix;
  std::vector<float> values(512, 1.0f);
  imatrix.entries["blk.0.ffn_down.weight"] = {values, {1}};
  std::fill(values.begin(), values.begin() + 500, 0.0f);
  imatrix.entries["blk.1.ffn_down.weight"] = {values, {1}};
  options_.imatrix = &imatrix;
  const WritePlan weighted = Plan(BitsPerWeight{3.5});
  EXPECT_LT(Planned(weighted, "blk.1.ffn_down.weight").bytes,
            Planned(plain, "blk.1.ffn_down.weight").bytes);
}

TEST_F(SlowSizeTarget, TargetBelowTheSmallestNamesWhatIsReachable) {
  for (const SizeTarget& target : {SizeTarget(FileBytes{1000}), SizeTarget(BitsPerWeight{0.5})}) {
    const Error error = testing::ErrorOf([&] { Select(target); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.message(), HasSubstr("smallest reachable size"));
  }
}

TEST_F(SlowSizeTarget, TargetAboveTheLargestKeepsEveryTensorAndSaysSo) {
  const WritePlan plan = Plan(FileBytes{1 << 30});
  for (const auto& planned : plan.tensors) EXPECT_EQ(planned.type, T::kF32);
  EXPECT_THAT(plan.notes, ::testing::Contains(HasSubstr("no better")));
}

TEST_F(SlowSizeTarget, PureAndQuantizedSourcesAreRefused) {
  options_.recipe.pure = true;
  EXPECT_QUERN_ERROR(Select(BitsPerWeight{4}), ErrorCode::kUsage);
  options_.recipe.pure = false;
  source_.Add("blk.1.ffn_gate.weight", {256, 256}, T::kQ8_0,
              std::vector<uint8_t>(*TensorBytes(T::kQ8_0, Shape{256, 256})));
  Rebuild();
  EXPECT_QUERN_ERROR(Select(BitsPerWeight{4}), ErrorCode::kUsage);
  options_.recipe.allow_requantize = true;
  EXPECT_LE(Bits(Plan(BitsPerWeight{4})), 4);
}

TEST_F(SlowSizeTarget, RowsThatFitNoBlocksStayAsTheyAre) {
  Add("blk.1.ffn_gate.weight", {256, 100}, 1);
  Rebuild();
  const WritePlan plan = Plan(BitsPerWeight{4.5});
  EXPECT_FALSE(IsQuantized(Planned(plan, "blk.1.ffn_gate.weight").type));
  EXPECT_FALSE(Planned(plan, "blk.1.ffn_gate.weight").fallback);
}

}  // namespace
}  // namespace quern::converters
