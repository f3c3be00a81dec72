#include "verify/layer_drift.h"

#include <gtest/gtest.h>

#include <cmath>

#include "formats/core/error.h"
#include "tests/support/fixtures.h"
#include "tests/verify/tiny_model_testing.h"
#include "verify/drift.h"

namespace quern::verify {
namespace {

using testing::ErrorOf;

std::vector<ReferenceModel> Noisy(const TinyOptions& tiny) {
  std::vector<ReferenceModel> candidates;
  for (const double noise : {0.0, 0.01, 0.05}) {
    TinyOptions options = tiny;
    options.noise = noise;
    candidates.push_back(MakeModel(options));
  }
  return candidates;
}

// Residual streams of one window after the embedding and each layer: [place][position * width].
std::vector<std::vector<float>> Streams(const ReferenceModel& model,
                                        std::span<const int32_t> window) {
  Products products(1);
  Forward forward(model, window.size(), uint64_t{1} << 20, products);
  Forward::Pass pass = forward.Begin({window, window.size(), 0, window.size()});
  Forward::Workspace workspace;
  std::vector<std::vector<float>> streams;
  for (uint64_t layer = 0;; ++layer) {
    streams.emplace_back(pass.x.data(), pass.x.data() + window.size() * pass.x.columns());
    if (layer == forward.graph().layers) return streams;
    forward.RunLayer(pass, workspace);
  }
}

double Norm(std::span<const double> x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

TEST(LayerDrift, IsTheMeanOverTheScoredPositionsOfEachWindow) {
  const TinyOptions tiny{.layers = 3};
  const ReferenceModel reference = MakeModel(tiny);
  const auto candidates = Noisy(tiny);
  const auto tokens = RandomTokens(tiny, 64, 8);
  const EvaluationOptions options{.context = 16, .threads = 2, .by_layer = true};
  const DriftResult result = MeasureDrift(reference, candidates, tokens, options);
  const Windows windows = CutWindows(tokens, options);
  for (size_t c = 0; c < candidates.size(); ++c) {
    const auto& layers = result.candidates[c].layers;
    ASSERT_EQ(layers.size(), tiny.layers + 1);
    std::vector<double> error(layers.size()), cosine(layers.size());
    for (size_t w = 0; w < windows.count; ++w) {
      const auto window = std::span(tokens).subspan(w * 16, 16);
      const auto ours = Streams(reference, window), theirs = Streams(candidates[c], window);
      for (size_t place = 0; place < layers.size(); ++place) {
        for (size_t i = windows.first(); i < windows.first() + windows.scored(); ++i) {
          std::vector<double> r, d, q;
          double product = 0;
          for (size_t at = i * tiny.width; at < (i + 1) * tiny.width; ++at) {
            r.push_back(static_cast<double>(ours[place][at]));
            q.push_back(static_cast<double>(theirs[place][at]));
            d.push_back(q.back() - r.back());
            product += r.back() * q.back();
          }
          error[place] += Norm(d) / Norm(r);
          cosine[place] += product / Norm(r) / Norm(q);
        }
      }
    }
    const double positions = static_cast<double>(windows.count * windows.scored());
    for (size_t place = 0; place < layers.size(); ++place) {
      EXPECT_NEAR(layers[place].relative_error.Mean().value, error[place] / positions, 1e-5);
      EXPECT_NEAR(layers[place].cosine.Mean().value, cosine[place] / positions, 1e-5);
    }
  }
  EXPECT_EQ(result.candidates[0].layers[3].relative_error.Mean().value, 0);
  EXPECT_GT(result.candidates[1].layers[3].relative_error.Mean().value, 0);
}

TEST(LayerDrift, ChangesNoOtherFigure) {
  const TinyOptions tiny;
  const ReferenceModel reference = MakeModel(tiny);
  const auto candidates = Noisy(tiny);
  const auto tokens = RandomTokens(tiny, 128, 8);
  const auto plain = MeasureDrift(reference, candidates, tokens, {.context = 16});
  const auto layered =
      MeasureDrift(reference, candidates, tokens, {.context = 16, .by_layer = true});
  EXPECT_EQ(plain.reference.value, layered.reference.value);
  for (size_t c = 0; c < candidates.size(); ++c) {
    EXPECT_EQ(plain.candidates[c].kld.sorted, layered.candidates[c].kld.sorted);
    EXPECT_TRUE(plain.candidates[c].layers.empty());
  }
}

TEST(LayerDrift, RefusesModelsOfOtherLayers) {
  const TinyOptions tiny;
  const ReferenceModel reference = MakeModel(tiny);
  std::vector<ReferenceModel> candidates;
  candidates.push_back(MakeModel({.layers = 3}));
  const auto tokens = RandomTokens(tiny, 64, 8);
  EXPECT_EQ(MeasureDrift(reference, candidates, tokens, {.context = 16}).candidates.size(), 1u);
  const Error error = ErrorOf(
      [&] { MeasureDrift(reference, candidates, tokens, {.context = 16, .by_layer = true}); });
  EXPECT_EQ(error.code(), ErrorCode::kMismatch);
}

}  // namespace
}  // namespace quern::verify
