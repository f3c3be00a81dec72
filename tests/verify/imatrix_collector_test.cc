#include "verify/imatrix_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/error.h"
#include "tests/support/fixtures.h"
#include "tests/verify/tiny_model_testing.h"
#include "verify/imatrix_coverage.h"

namespace quern::verify {
namespace {

using formats::imatrix::SumsEntry;
using ::testing::ElementsAre;
using testing::ErrorOf;

constexpr size_t kContext = 16;

TinyOptions Mixture() {
  TinyOptions options;
  options.experts = 5;
  options.experts_used = 2;
  options.rules.shared_expert = true;
  return options;
}

ImatrixSums Collect(const ReferenceModel& model, const std::vector<int32_t>& tokens,
                    ImatrixOptions options = {.evaluation = {.threads = 1}}) {
  ImatrixSums sums;
  sums.chunk_size = kContext;
  options.evaluation.context = kContext;
  CollectImatrix(model, tokens, options, sums);
  return sums;
}

void ExpectEqualsNaive(const TinyOptions& tiny, bool process_output) {
  const auto tokens = RandomTokens(tiny, 130, 8);
  ImatrixOptions options{.process_output = process_output};
  options.evaluation = {.context = kContext, .bos = 2, .threads = 1};
  const ImatrixSums sums = Collect(MakeModel(tiny), tokens, options);
  NaiveInputs expected;
  const Windows windows = CutWindows(tokens, options.evaluation);
  for (size_t w = 0; w < windows.count; ++w) {
    const auto begin = windows.tokens.begin() + static_cast<ptrdiff_t>(w * kContext);
    AddNaiveInputs(tiny, {begin, begin + kContext}, expected);
  }
  if (!process_output) expected.erase(tiny.tied ? "token_embd.weight" : "output.weight");
  ASSERT_EQ(sums.entries.size(), expected.size());
  for (const auto& [name, input] : expected) {
    ASSERT_TRUE(sums.entries.contains(name)) << name;
    const SumsEntry& entry = sums.entries.at(name);
    EXPECT_EQ(entry.counts, input.counts) << name;
    ASSERT_EQ(entry.sums.size(), input.sums.size()) << name;
    for (size_t i = 0; i < entry.sums.size(); ++i) {
      ASSERT_NEAR(entry.sums[i], input.sums[i], 1e-4 * input.sums[i] + 1e-6) << name << " " << i;
    }
  }
}

TEST(ImatrixCollector, EqualsNaiveLoops) { ExpectEqualsNaive({}, false); }

TEST(ImatrixCollector, CountsEachExpertsTokens) { ExpectEqualsNaive(Mixture(), false); }

TEST(ImatrixCollector, CountsTheInputOfAJoinedMatrixOnce) {
  TinyOptions options;
  options.joined_qkv = options.biases = true;
  ExpectEqualsNaive(options, false);
}

TEST(ImatrixCollector, TakesTheOutputWhenAskedUnderTheNameThatItHas) {
  TinyOptions options;
  ExpectEqualsNaive(options, true);
  options.tied = true;
  ExpectEqualsNaive(options, true);
  ExpectEqualsNaive(options, false);
}

TEST(ImatrixCollector, SeesEveryPositionOfEveryLayer) {
  const TinyOptions tiny;
  const ImatrixSums sums = Collect(MakeModel(tiny), RandomTokens(tiny, 130, 8));
  for (const auto& [name, entry] : sums.entries) {
    EXPECT_THAT(entry.counts, ElementsAre(8 * kContext)) << name;
  }
  EXPECT_EQ(sums.ChunkCount(), 8);
}

TEST(ImatrixCollector, DoesNotDependOnTheNumberOfThreads) {
  const TinyOptions tiny = Mixture();
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel model = MakeModel(tiny);
  ImatrixOptions options;
  options.evaluation.threads = 1;
  const ImatrixSums one = Collect(model, tokens, options);
  options.evaluation.threads = 3;
  const ImatrixSums three = Collect(model, tokens, options);
  for (const auto& [name, entry] : one.entries) {
    EXPECT_EQ(entry.sums, three.entries.at(name).sums) << name;
    EXPECT_EQ(entry.counts, three.entries.at(name).counts) << name;
  }
}

TEST(ImatrixCollector, AddsTwoHalvesToTheWhole) {
  const TinyOptions tiny = Mixture();
  const auto tokens = RandomTokens(tiny, 8 * kContext, 8);
  const ReferenceModel model = MakeModel(tiny);
  const ImatrixSums whole = Collect(model, tokens);
  ImatrixSums halves;
  ImatrixOptions options;
  options.evaluation = {.context = kContext, .threads = 1};
  CollectImatrix(model, std::span(tokens).first(3 * kContext), options, halves);
  CollectImatrix(model, std::span(tokens).subspan(3 * kContext), options, halves);
  for (const auto& [name, entry] : whole.entries) {
    const SumsEntry& sum = halves.entries.at(name);
    EXPECT_EQ(sum.counts, entry.counts) << name;
    for (size_t i = 0; i < entry.sums.size(); ++i) {
      // Tiles of the products, and with them roundings of f32, depend on the batch.
      ASSERT_NEAR(sum.sums[i], entry.sums[i], 1e-4 * entry.sums[i] + 1e-6) << name;
    }
  }
}

TEST(ImatrixCollector, GivesTheSameWhateverTheBatches) {
  const TinyOptions tiny = Mixture();
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel model = MakeModel(tiny);
  const ImatrixSums all = Collect(model, tokens);
  ImatrixOptions options;
  options.evaluation = {.context = kContext, .threads = 1};
  // The first memory that is enough for a window is not enough for all.
  for (options.evaluation.memory = uint64_t{32} << 20;; options.evaluation.memory += 20000) {
    ImatrixSums some;
    try {
      EXPECT_GT(CollectImatrix(model, tokens, options, some).batches, 1u);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kUsage);
      ASSERT_LT(options.evaluation.memory, uint64_t{200} << 20);
      continue;
    }
    for (const auto& [name, entry] : all.entries) {
      EXPECT_EQ(some.entries.at(name).counts, entry.counts) << name;
    }
    break;
  }
}

TEST(ImatrixCollector, RefusesAnotherModelsSumsBeforeWorkStarts) {
  const TinyOptions tiny;
  ImatrixSums sums;
  sums.entries["blk.1.attn_q.weight"] = {{1, 2, 3}, {7}};
  ImatrixOptions options;
  options.evaluation = {.context = kContext,
                        .progress = [](double) { FAIL() << "work has started"; }};
  const ReferenceModel model = MakeModel(tiny);
  const auto tokens = RandomTokens(tiny, 130, 8);
  EXPECT_EQ(ErrorOf([&] { CollectImatrix(model, tokens, options, sums); }).code(),
            ErrorCode::kMismatch);
}

TEST(ImatrixCollector, SpreadsALegacyFilesCountOverTheExperts) {
  const TinyOptions tiny = Mixture();
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel model = MakeModel(tiny);
  const ImatrixSums alone = Collect(model, tokens);
  ImatrixSums sums;
  const std::string name = "blk.0.ffn_up_exps.weight";
  sums.entries[name] = {std::vector<double>(tiny.experts * tiny.width, 2), {100}};
  ImatrixOptions options;
  options.evaluation = {.context = kContext, .threads = 1};
  CollectImatrix(model, tokens, options, sums);
  const SumsEntry& entry = sums.entries.at(name);
  ASSERT_EQ(entry.counts.size(), tiny.experts);
  for (size_t e = 0; e < tiny.experts; ++e) {
    EXPECT_EQ(entry.counts[e], 100 + alone.entries.at(name).counts[e]);
    EXPECT_NEAR(entry.sums[e * tiny.width], 2 + alone.entries.at(name).sums[e * tiny.width], 1e-9);
  }
}

TEST(ImatrixCoverage, NamesTensorsWithoutDataAndExpertsThatWereSeenRarely) {
  const TinyOptions tiny = Mixture();
  const ReferenceModel model = MakeModel(tiny);
  ImatrixSums sums = Collect(model, RandomTokens(tiny, 130, 8));
  const std::vector<int64_t> counts = {100, 0, 400, kRareTokens, kRareTokens - 1};
  for (const char* name : {"ffn_up_exps", "ffn_gate_exps", "ffn_down_exps"}) {
    sums.entries.at(std::string("blk.1.") + name + ".weight").counts = counts;
    sums.entries.at(std::string("blk.0.") + name + ".weight").counts = {500, 500, 500, 500, 500};
  }
  sums.entries.erase("blk.0.attn_v.weight");
  const ImatrixCoverage coverage = MeasureCoverage(sums, &model.model);
  EXPECT_THAT(
      coverage.without_data,
      ::testing::UnorderedElementsAre("blk.0.attn_v.weight", "output.weight", "token_embd.weight"));
  ASSERT_EQ(coverage.experts.size(), 1u);
  EXPECT_THAT(coverage.experts[0].tensors,
              ElementsAre("blk.1.ffn_down_exps.weight", "blk.1.ffn_gate_exps.weight",
                          "blk.1.ffn_up_exps.weight"));
  EXPECT_EQ(coverage.experts[0].counts, counts);
  EXPECT_THAT(coverage.experts[0].unseen, ElementsAre(1));
  EXPECT_THAT(coverage.experts[0].rare, ElementsAre(0, 4));
  sums.entries["none"] = {{0}, {0}};
  EXPECT_THAT(MeasureCoverage(sums, nullptr).without_data, ElementsAre("none"));
}

}  // namespace
}  // namespace quern::verify
