#include "verify/logits_base.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "tests/support/fixtures.h"
#include "tests/verify/tiny_model_testing.h"

namespace quern::verify {
namespace {

using formats::logits_base::LogitsBaseReader;
using quern::testing::ErrorOf;
using quern::testing::TempFolder;

// Of the rounding to 16 bits: half of 16 nats / 65535.
constexpr double kHalfStep = 1.3e-4;

class BaseDrift : public ::testing::Test {
 protected:
  LogitsBaseReader Write(const EvaluationOptions& options, const char* name = "base") {
    const auto path = folder_.path() / name;
    result_ = WriteLogitsBase(MakeModel(tiny_), tokens_, options, path, {});
    return LogitsBaseReader(path);
  }
  // The first memory from `least` on, in such steps, that is enough for a window.
  uint64_t FirstThatFits(uint64_t step, uint64_t least) {
    const ReferenceModel model = MakeModel(tiny_);
    for (EvaluationOptions options{.context = 16, .memory = least + step};;
         options.memory += step) {
      try {
        MeasurePerplexity(model, tokens_, options);
        return options.memory;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kUsage);
      }
    }
  }
  std::string Contents(const char* name) {
    std::ifstream file(folder_.path() / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  TempFolder folder_;
  TinyOptions tiny_;
  std::vector<int32_t> tokens_ = RandomTokens(tiny_, 130, 8);
  PerplexityResult result_;
};

TEST_F(BaseDrift, WritesWhatThePerplexityIsComputedFrom) {
  const EvaluationOptions options{.context = 16, .bos = 2};
  const LogitsBaseReader base = Write(options);
  EXPECT_EQ(result_.perplexity.value,
            MeasurePerplexity(MakeModel(tiny_), tokens_, options).perplexity.value);
  EXPECT_EQ(base.dimensions().context, 16u);
  EXPECT_EQ(base.dimensions().windows, 8u);
  EXPECT_EQ(base.dimensions().vocabulary, tiny_.vocabulary);
  EXPECT_TRUE(std::equal(base.tokens().begin(), base.tokens().end(), tokens_.begin()));  // no BOS
  const Windows windows = CutWindows(tokens_, options);
  double loss = 0;
  std::vector<float> row(tiny_.vocabulary);
  for (uint64_t i = 0; i < base.dimensions().positions(); ++i) {
    base.Read(i, row);
    loss -= static_cast<double>(row[static_cast<size_t>(windows.Target(0, i))]);
  }
  EXPECT_NEAR(loss / static_cast<double>(result_.tokens_scored), result_.mean_loss.value,
              kHalfStep);
}

TEST_F(BaseDrift, FilesDoNotDependOnThreadsOrBatches) {
  Write({.context = 16, .threads = 1}, "one");
  Write({.context = 16, .threads = 3}, "three");
  EXPECT_EQ(Contents("one"), Contents("three"));
  const LogitsBaseReader whole(folder_.path() / "one");
  EvaluationOptions options{.context = 16, .memory = FirstThatFits(uint64_t{1} << 20, 0)};
  options.memory = FirstThatFits(20000, options.memory - (uint64_t{1} << 20));
  const LogitsBaseReader batches = Write(options, "batches");
  EXPECT_GT(result_.batches, 1u);
  std::vector<float> row(tiny_.vocabulary), other(tiny_.vocabulary);
  for (uint64_t i = 0; i < whole.dimensions().positions(); ++i) {
    whole.Read(i, row);
    batches.Read(i, other);
    for (size_t t = 0; t < row.size(); ++t) EXPECT_NEAR(row[t], other[t], 3 * kHalfStep) << i;
  }
}

TEST_F(BaseDrift, LeavesNoFileBehindWhenItFails) {
  EvaluationOptions options{.context = 16};
  options.progress = [](double) { throw Error(ErrorCode::kIo, {}, "stopped"); };
  EXPECT_QUERN_ERROR(Write(options), ErrorCode::kIo);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(BaseDrift, AgreesWithTheReferenceInLockstep) {
  const LogitsBaseReader base = Write({.context = 16});
  TinyOptions noisy = tiny_;
  noisy.noise = 0.05;
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(noisy));
  candidates.push_back(MakeModel(tiny_));
  const DriftResult expected = MeasureDrift(MakeModel(tiny_), candidates, tokens_, {.context = 16});
  const DriftResult result = MeasureDriftFromBase(base, candidates, {});
  EXPECT_EQ(result.tokens_scored, expected.tokens_scored);
  EXPECT_EQ(result.windows, 8u);
  EXPECT_NEAR(std::log(result.reference.value), std::log(expected.reference.value), kHalfStep);
  for (size_t i = 0; i < 2; ++i) {
    const CandidateDrift &drift = result.candidates[i], &exact = expected.candidates[i];
    EXPECT_NEAR(drift.perplexity.value, exact.perplexity.value, 1e-6);
    EXPECT_NEAR(drift.kld.mean.value, exact.kld.mean.value, kHalfStep);
    EXPECT_NEAR(drift.kld.sorted.back(), exact.kld.sorted.back(), 2 * kHalfStep);
    EXPECT_NEAR(drift.top1_agreement.value, exact.top1_agreement.value, 0.02);
    EXPECT_NEAR(drift.probability.mean.value, exact.probability.mean.value, kHalfStep);
  }
}

TEST_F(BaseDrift, TakesFewerWindowsWhereAsked) {
  const LogitsBaseReader base = Write({.context = 16, .max_windows = 1});
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(tiny_));
  EXPECT_EQ(MeasureDriftFromBase(base, candidates, {}).windows, 1u);  // although a text needs two
  const LogitsBaseReader longer = Write({.context = 16}, "longer");
  EXPECT_EQ(MeasureDriftFromBase(longer, candidates, {.max_windows = 3}).windows, 3u);
}

TEST_F(BaseDrift, TakesTheMetadataOfAllCandidatesFromTheMemory) {
  const LogitsBaseReader base = Write({.context = 16});
  const auto large = [](TinyTensors&, Metadata& metadata) {  // counts as 64 MiB
    metadata.Set("large", Array{std::vector<uint8_t>(size_t{4} << 20)});
  };
  const EvaluationOptions options{.memory = uint64_t{128} << 20, .threads = 1};
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(tiny_, large));
  EXPECT_EQ(MeasureDriftFromBase(base, candidates, options).windows, 8u);
  candidates.push_back(MakeModel(tiny_, large));
  EXPECT_QUERN_ERROR(MeasureDriftFromBase(base, candidates, options), ErrorCode::kUsage);
}

TEST_F(BaseDrift, RefusesAnotherVocabulary) {
  const LogitsBaseReader base = Write({.context = 16});
  TinyOptions larger = tiny_;
  larger.vocabulary = 41;
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(larger));
  EXPECT_QUERN_ERROR(MeasureDriftFromBase(base, candidates, {}), ErrorCode::kMismatch);
}

}  // namespace
}  // namespace quern::verify
