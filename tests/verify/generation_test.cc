#include "verify/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "formats/core/error.h"
#include "tests/support/fixtures.h"
#include "tests/verify/tiny_model_testing.h"
#include "verify/reference/forward.h"
#include "verify/sampler.h"

namespace quern::verify {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

TEST(Sampler, TakesTheFirstOfTheLargestWithoutATemperature) {
  Sampler sampler(0, 7);
  EXPECT_EQ(sampler.Choose(std::vector<float>{1, 5, -2, 5, 4}), 1);
  EXPECT_EQ(sampler.Choose(std::vector<float>{-3}), 0);
}

TEST(Sampler, DrawsByTheDocumentedScheme) {
  // SplitMix64 from 42: 0xbdd732262feb6e95, 0x28efe333b266f103, 0x47526757130f9f52, whose upper 53
  // bits are 0.741, 0.160, 0.279 of 2^53.
  Sampler sampler(1, 42);
  const std::vector<float> equal(100, 3.0f);
  EXPECT_EQ(sampler.Choose(equal), 74);
  EXPECT_EQ(sampler.Choose(equal), 15);
  EXPECT_EQ(sampler.Choose(equal), 27);
}

TEST(Sampler, DrawsAsOftenAsTheSoftmaxSays) {
  const std::vector<float> logits = {0, 2, -1, 1};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    std::vector<double> expected;
    double sum = 0;
    for (const float logit : logits) {
      expected.push_back(std::exp(static_cast<double>(logit) / temperature));
      sum += expected.back();
    }
    Sampler sampler(temperature, 1);
    std::vector<double> seen(logits.size());
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) ++seen[static_cast<size_t>(sampler.Choose(logits))];
    for (size_t i = 0; i < seen.size(); ++i) {
      EXPECT_NEAR(seen[i] / kDraws, expected[i] / sum, 0.015) << temperature;  // 4 sigma
    }
  }
}

TEST(Sampler, NeverDrawsWhatIsImpossible) {
  Sampler sampler(0.01, 3);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(sampler.Choose(std::vector<float>{-900, 0, -900}), 1);
}

// The likeliest token after `tokens`, computed from nothing.
int32_t Recompute(const ReferenceModel& model, const std::vector<int32_t>& tokens) {
  Products products(2);
  Forward forward(model, tokens.size(), uint64_t{1} << 20, products);
  const Matrix states =
      forward.States({tokens, tokens.size(), tokens.size() - 1, 1}, [](uint64_t) {});
  std::vector<float> logits(forward.graph().vocabulary);
  forward.Logits(states, 0, logits.size(), logits.data());
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TEST(Generation, MakesTheTokensThatRecomputingEverythingMakes) {
  TinyOptions tiny{.context = 40, .experts = 4, .experts_used = 2};
  tiny.rules.sliding_window_period = 2;
  tiny.counts["attention.sliding_window"] = 6;
  const ReferenceModel model = MakeModel(tiny);
  std::vector<int32_t> text = RandomTokens(tiny, 9, 6);
  std::vector<int32_t> heard;
  const GenerationResult result =
      Generate(model, text, {.max_tokens = 24, .token = [&](int32_t id) { heard.push_back(id); }});
  EXPECT_EQ(result.stopped, Stop::kLength);
  EXPECT_EQ(heard, result.tokens);
  ASSERT_EQ(result.tokens.size(), 24u);
  for (const int32_t token : result.tokens) {
    ASSERT_EQ(token, Recompute(model, text)) << "after " << text.size();
    text.push_back(token);
  }
}

TEST(Generation, TakesALongPromptInPieces) {
  const TinyOptions tiny{.context = 1200};
  const ReferenceModel model = MakeModel(tiny);
  const auto prompt = RandomTokens(tiny, 1100, 6);
  std::vector<double> progress;
  const GenerationResult result = Generate(
      model, prompt, {.max_tokens = 1, .progress = [&](double done) { progress.push_back(done); }});
  EXPECT_EQ(result.tokens, std::vector<int32_t>{Recompute(model, prompt)});
  EXPECT_EQ(progress.size(), 3 * tiny.layers);
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
}

TEST(Generation, DrawsTheSameTokensWithAnyNumberOfThreadsAndAnyMemory) {
  const TinyOptions tiny{.width = 256, .inner = 2048, .vocabulary = 2000, .context = 64};
  const ReferenceModel model = MakeModel(tiny);  // 4 million weights, 17 MB
  const auto prompt = RandomTokens(tiny, 5, 6);
  const auto tokens = [&](uint64_t seed, int threads, uint64_t mib) {
    return Generate(model, prompt,
                    {.max_tokens = 12,
                     .temperature = 1,
                     .seed = seed,
                     .memory = mib << 20,
                     .threads = threads})
        .tokens;
  };
  const auto expected = tokens(5, 2, 512);
  EXPECT_EQ(tokens(5, 1, 512), expected);
  EXPECT_EQ(tokens(5, 3, 512), expected);
  EXPECT_NE(tokens(6, 2, 512), expected);
  // Slabs of another size are other products; the tokens would differ only at a tie of 1e-6.
  EXPECT_EQ(tokens(5, 2, 48), expected);
}

TEST(Generation, StopsWhereTheTextOrTheContextEnds) {
  const TinyOptions tiny{.context = 16};
  const ReferenceModel model = MakeModel(tiny);
  const auto prompt = RandomTokens(tiny, 9, 6);
  const GenerationResult full = Generate(model, prompt, {.max_tokens = 30});
  EXPECT_EQ(full.stopped, Stop::kContext);
  EXPECT_EQ(full.tokens.size(), 7u);
  EXPECT_EQ(full.context, 16u);
  const GenerationResult ended = Generate(
      model, prompt, {.max_tokens = 30, .ends = [&](int32_t id) { return id == full.tokens[3]; }});
  EXPECT_EQ(ended.stopped, Stop::kEnd);
  const auto end = std::find(full.tokens.begin(), full.tokens.end(), full.tokens[3]);
  EXPECT_EQ(ended.tokens, std::vector<int32_t>(full.tokens.begin(), end));
  EXPECT_EQ(Generate(model, prompt, {.max_tokens = 7}).stopped, Stop::kLength);
}

TEST(Generation, RefusesPromptsThatDoNotFit) {
  const TinyOptions tiny{.context = 16};
  const ReferenceModel model = MakeModel(tiny);
  const auto error = [&](const std::vector<int32_t>& prompt, uint64_t memory = 0) {
    return ErrorOf([&] { Generate(model, prompt, {.memory = memory}); });
  };
  EXPECT_EQ(error({}).code(), ErrorCode::kUsage);
  EXPECT_THAT(error(RandomTokens(tiny, 16, 1)).what(), HasSubstr("context of 16"));
  EXPECT_EQ(error({1, 2, 99}).code(), ErrorCode::kBadValue);
  EXPECT_THAT(error({1, 2}, 1 << 20).what(), HasSubstr("--memory"));
}

}  // namespace
}  // namespace quern::verify
