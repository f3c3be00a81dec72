#include "verify/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "formats/core/error.h"
#include "tests/support/fixtures.h"
#include "tests/verify/tiny_model_testing.h"
#include "verify/drift.h"
#include "verify/perplexity.h"
#include "verify/statistics.h"

namespace quern::verify {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

TEST(Windows, AreCutAsLlamaPerplexityDoes) {
  std::vector<int32_t> tokens(29);
  std::iota(tokens.begin(), tokens.end(), 0);
  const Windows windows = CutWindows(tokens, {.context = 9, .bos = 77});
  EXPECT_EQ(windows.count, 3u);  // 2 tokens are left out
  EXPECT_EQ(windows.first(), 4u);
  EXPECT_EQ(windows.scored(), 4u);
  EXPECT_EQ(windows.tokens[0], 77);
  EXPECT_EQ(windows.tokens[9], 77);
  EXPECT_EQ(windows.tokens[10], 10);
  EXPECT_EQ(windows.Target(0, 0), 5);
  EXPECT_EQ(windows.Target(0, 3), 8);
  EXPECT_EQ(windows.Target(1, 5), 9 * 2 + 6);
  EXPECT_EQ(windows.Slice(1, 3).windows(), 2u);
  EXPECT_EQ(CutWindows(tokens, {.context = 9, .max_windows = 2}).count, 2u);
  EXPECT_EQ(CutWindows(tokens, {.context = 9}).tokens[9], 9);
}

TEST(Windows, NeedATextOfTwo) {
  const std::vector<int32_t> tokens(17, 1);
  EXPECT_EQ(CutWindows(std::vector<int32_t>(18, 1), {.context = 9}).count, 2u);
  EXPECT_EQ(ErrorOf([&] { CutWindows(tokens, {.context = 9}); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(ErrorOf([&] { CutWindows({}, {.context = 9}); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(ErrorOf([&] { CutWindows(tokens, {.context = 3}); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(ErrorOf([&] { CutWindows(tokens, {.context = size_t{1} << 60}); }).code(),
            ErrorCode::kUsage);
}

TEST(BeginningToken, FollowsTheVocabulary) {
  Metadata metadata;
  EXPECT_EQ(BeginningToken(metadata), std::nullopt);
  metadata.Set("tokenizer.ggml.model", std::string("llama"));
  EXPECT_EQ(BeginningToken(metadata), 1);
  metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{5});
  EXPECT_EQ(BeginningToken(metadata), 5);
  metadata.Set("tokenizer.ggml.add_bos_token", false);
  EXPECT_EQ(BeginningToken(metadata), std::nullopt);
  metadata.Remove("tokenizer.ggml.add_bos_token");
  metadata.Set("tokenizer.ggml.model", std::string("gpt2"));
  EXPECT_EQ(BeginningToken(metadata), std::nullopt);
  metadata.Set("tokenizer.ggml.pre", std::string("llama-bpe"));
  EXPECT_EQ(BeginningToken(metadata), 5);
}

TEST(WindowsPerBatch, SharesEvenlyAndNamesTheMemoryThatIsNeeded) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  EXPECT_EQ(WindowsPerBatch(100 * kMiB, 0, kMiB, 10), 10u);
  EXPECT_EQ(WindowsPerBatch(100 * kMiB, 0, 25 * kMiB, 10), 4u);
  EXPECT_EQ(WindowsPerBatch(100 * kMiB, 0, 10 * kMiB, 11), 6u);  // not 10 + 1
  EXPECT_EQ(WindowsPerBatch(100 * kMiB, 90 * kMiB, 10 * kMiB, 11), 1u);
  const Error error = ErrorOf([] { WindowsPerBatch(100 * kMiB, 95 * kMiB, 6 * kMiB, 1); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.what(), HasSubstr("--memory"));
}

TEST(Prediction, DoesNotDependOnTheSlabs) {
  const std::vector<float> logits = {1, -2, 7, 7, 0.5f, 9, 3, 9, -40, 2};
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  const double loss = std::log(sum) - 3;
  for (const size_t slab : {1, 3, 4, 10}) {
    Prediction prediction;
    for (size_t first = 0; first < logits.size(); first += slab) {
      prediction.Add(logits.data() + first, first, std::min(slab, logits.size() - first), 6);
    }
    EXPECT_EQ(prediction.top, 5) << slab;  // the first of equals
    EXPECT_NEAR(prediction.Loss(), loss, 1e-6) << slab;
  }
}

TEST(Statistics, GiveMeansErrorsAndPercentiles) {
  Moments moments;
  for (const double x : {1.0, 2.0, 3.0, 6.0}) moments.Add(x);
  EXPECT_DOUBLE_EQ(moments.Mean().value, 3);
  EXPECT_DOUBLE_EQ(moments.Mean().error, std::sqrt(14.0 / 4 / 3));
  EXPECT_DOUBLE_EQ(Exponential({2, 0.5}).error, std::exp(2.0) * 0.5);
  EXPECT_EQ(Moments().Mean().value, 0);
  const std::vector<double> a = {1, 2, 3, 6}, b = {2, 1, 5, 4};
  EXPECT_DOUBLE_EQ(CovarianceOfMeans(a, a), 14.0 / 4 / 3);
  EXPECT_DOUBLE_EQ(CovarianceOfMeans(a, b), (43.0 / 4 - 9) / 3);
  EXPECT_EQ(Percentile(a, 0), 1);
  EXPECT_EQ(Percentile(a, 1), 6);
  EXPECT_EQ(Percentile(a, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(Percentile(a, 0.9), 3 * 0.3 + 6 * 0.7);
}

// Naive log-probabilities of every token at the scored positions.
std::vector<std::vector<double>> NaiveLogProbabilities(const TinyOptions& options,
                                                       const Windows& windows) {
  std::vector<std::vector<double>> rows;
  for (size_t w = 0; w < windows.count; ++w) {
    const auto begin = windows.tokens.begin() + static_cast<ptrdiff_t>(w * windows.context);
    const auto logits =
        NaiveLogits(options, {begin, begin + static_cast<ptrdiff_t>(windows.context)});
    for (size_t i = windows.first(); i < windows.first() + windows.scored(); ++i) {
      double sum = 0;
      for (const double logit : logits[i]) sum += std::exp(logit);
      rows.push_back(logits[i]);
      for (double& value : rows.back()) value -= std::log(sum);
    }
  }
  return rows;
}

TEST(Perplexity, EqualsNaiveLoopsWhateverTheBatches) {
  const TinyOptions tiny;
  const auto tokens = RandomTokens(tiny, 130, 8);
  EvaluationOptions options{.context = 16, .bos = 2, .threads = 2};
  const Windows windows = CutWindows(tokens, options);
  const auto expected = NaiveLogProbabilities(tiny, windows);
  double loss = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    loss -= expected[i][static_cast<size_t>(windows.Target(0, i))];
  }
  const double perplexity = std::exp(loss / static_cast<double>(expected.size()));
  size_t estimates = 0;
  double last = 0;
  options.estimate = [&](size_t window, double running) {
    EXPECT_EQ(window, estimates++);
    last = running;
  };
  const ReferenceModel model = MakeModel(tiny);
  const PerplexityResult all = MeasurePerplexity(model, tokens, options);
  EXPECT_EQ(all.windows, 8u);
  EXPECT_EQ(all.batches, 1u);
  EXPECT_EQ(all.tokens_scored, expected.size());
  EXPECT_EQ(estimates, 8u);
  EXPECT_DOUBLE_EQ(last, all.perplexity.value);
  EXPECT_NEAR(all.perplexity.value, perplexity, perplexity * 1e-6);

  // The first memory that is enough for a window is not enough for all.
  options.estimate = {};
  for (options.memory = uint64_t{32} << 20;; options.memory += 20000) {
    try {
      const PerplexityResult some = MeasurePerplexity(model, tokens, options);
      EXPECT_GT(some.batches, 1u);
      EXPECT_NEAR(some.perplexity.value, all.perplexity.value, perplexity * 1e-6);
      break;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kUsage);
      ASSERT_LT(options.memory, uint64_t{200} << 20);
    }
  }
}

TEST(Perplexity, EndsWhenProgressThrows) {
  const TinyOptions tiny;
  EvaluationOptions options{.context = 16};
  options.progress = [](double) { throw Error(ErrorCode::kIo, {}, "interrupted; run again"); };
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel model = MakeModel(tiny);
  EXPECT_EQ(ErrorOf([&] { MeasurePerplexity(model, tokens, options); }).code(), ErrorCode::kIo);
}

TEST(Progress, GoesOnBetweenSlabsOfLogits) {
  const TinyOptions tiny;
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel model = MakeModel(tiny);
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(tiny));
  std::vector<double> shares;
  EvaluationOptions options{.context = 16};
  options.progress = [&](double done) { shares.push_back(done); };
  const auto expect = [&](size_t layers) {
    EXPECT_GT(shares.size(), layers);  // one call before each layer, then those of the logits
    EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
    EXPECT_LT(shares.back(), 1);
    shares.clear();
  };
  MeasurePerplexity(model, tokens, options);
  expect(tiny.layers);
  MeasureDrift(model, candidates, tokens, options);
  expect(2 * tiny.layers);
  options.logits = [](uint64_t, std::span<const float>) {};
  MeasurePerplexity(model, tokens, options);
  expect(tiny.layers);
}

TEST(Drift, TakesTheScoresOfATextFromTheMemory) {
  const TinyOptions tiny;
  const ReferenceModel model = MakeModel(tiny);
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(tiny));
  EvaluationOptions options{.context = 16, .memory = uint64_t{64} << 20, .threads = 1};
  options.progress = [](double) { throw Error(ErrorCode::kIo, {}, "work has begun"); };
  const auto code = [&](size_t tokens) {
    const std::vector<int32_t> text(tokens, 1);
    return ErrorOf([&] { MeasureDrift(model, candidates, text, options); }).code();
  };
  EXPECT_EQ(code(1000), ErrorCode::kIo);
  EXPECT_EQ(code(size_t{1} << 21), ErrorCode::kUsage);
}

TEST(Drift, RefusesADivergenceThatIsNotFinite) {
  for (const double kld : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const Error error = ErrorOf([&] {
      Summarize({{1, 1}, {1, 1}, {0, kld}, {0, 0}, 2}, "model.gguf");
    });
    EXPECT_EQ(error.code(), ErrorCode::kNonFinite);
    EXPECT_THAT(error.what(), HasSubstr("model.gguf"));
  }
}

TEST(Drift, OfAModelFromItselfIsNothing) {
  const TinyOptions tiny;
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel reference = MakeModel(tiny);
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(tiny));
  const DriftResult result = MeasureDrift(reference, candidates, tokens, {.context = 16});
  const CandidateDrift& drift = result.candidates.at(0);
  EXPECT_EQ(drift.perplexity.value, result.reference.value);
  EXPECT_EQ(drift.ratio.value, 1);
  EXPECT_NEAR(drift.correlation, 1, 1e-12);
  EXPECT_EQ(drift.kld.sorted.back(), 0);
  EXPECT_EQ(drift.top1_agreement.value, 1);
  EXPECT_EQ(drift.rms_probability.value, 0);
}

TEST(Drift, EqualsNaiveLoops) {
  const TinyOptions tiny;
  TinyOptions noisy = tiny;
  noisy.noise = 0.05;
  TinyOptions other = tiny;
  other.noise = 0.2;
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel reference = MakeModel(tiny);
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(noisy));
  candidates.push_back(MakeModel(other));
  const EvaluationOptions options{.context = 16};
  const DriftResult result = MeasureDrift(reference, candidates, tokens, options);
  const Windows windows = CutWindows(tokens, options);
  const auto p = NaiveLogProbabilities(tiny, windows);
  const TinyOptions* all[] = {&noisy, &other};
  for (size_t c = 0; c < 2; ++c) {
    const auto q = NaiveLogProbabilities(*all[c], windows);
    double kld = 0, loss = 0, change = 0, squares = 0, same = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      const size_t target = static_cast<size_t>(windows.Target(0, i));
      for (size_t v = 0; v < p[i].size(); ++v) kld += std::exp(p[i][v]) * (p[i][v] - q[i][v]);
      loss -= q[i][target];
      const double delta = std::exp(q[i][target]) - std::exp(p[i][target]);
      change += delta;
      squares += delta * delta;
      same += std::max_element(p[i].begin(), p[i].end()) - p[i].begin() ==
              std::max_element(q[i].begin(), q[i].end()) - q[i].begin();
    }
    const double n = static_cast<double>(p.size());
    const CandidateDrift& drift = result.candidates[c];
    EXPECT_NEAR(drift.kld.mean.value, kld / n, kld / n * 1e-5);
    EXPECT_NEAR(drift.perplexity.value, std::exp(loss / n), 1e-4);
    EXPECT_NEAR(drift.probability.mean.value, change / n, 1e-6);
    EXPECT_NEAR(drift.rms_probability.value, std::sqrt(squares / n), 1e-6);
    EXPECT_DOUBLE_EQ(drift.top1_agreement.value, same / n);
    EXPECT_NEAR(drift.ratio.value, drift.perplexity.value / result.reference.value, 1e-9);
    EXPECT_TRUE(std::is_sorted(drift.kld.sorted.begin(), drift.kld.sorted.end()));
    EXPECT_GE(drift.kld.sorted.front(), 0);
  }
}

TEST(Drift, RefusesAnotherVocabulary) {
  const TinyOptions tiny;
  TinyOptions larger;
  larger.vocabulary = 41;
  const auto tokens = RandomTokens(tiny, 130, 8);
  const ReferenceModel reference = MakeModel(tiny);
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel(larger));
  EXPECT_EQ(ErrorOf([&] { MeasureDrift(reference, candidates, tokens, {.context = 16}); }).code(),
            ErrorCode::kMismatch);
  const auto named = [](const char* last) {
    return [=](TinyTensors&, Metadata& metadata) {
      metadata.Set("tokenizer.ggml.tokens", Array{std::vector<std::string>{"a", last}});
    };
  };
  const ReferenceModel one = MakeModel(tiny, named("b"));
  candidates.clear();
  candidates.push_back(MakeModel(tiny, named("c")));
  EXPECT_EQ(ErrorOf([&] { MeasureDrift(one, candidates, tokens, {.context = 16}); }).code(),
            ErrorCode::kMismatch);
}

}  // namespace
}  // namespace quern::verify
