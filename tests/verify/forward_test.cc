#include "verify/reference/forward.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "formats/core/error.h"
#include "tests/support/fixtures.h"
#include "tests/verify/tiny_model_testing.h"

namespace quern::verify {
namespace {

using converters::Activation;
using converters::NormKind;
using converters::NormPlace;
using converters::Presence;
using converters::Residual;
using converters::RopeStyle;
using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr uint64_t kSlab = uint64_t{1} << 20;

struct Case {
  std::string name;
  std::function<void(TinyOptions&)> set;
};

std::vector<Case> Cases() {
  return {
      {"Plain", [](TinyOptions&) {}},
      {"Interleaved", [](TinyOptions& o) { o.rules.rope = RopeStyle::kInterleaved; }},
      {"Tied", [](TinyOptions& o) { o.tied = true; }},
      {"PartialRotary", [](TinyOptions& o) { o.counts["rope.dimension_count"] = 4; }},
      {"LinearScaling",
       [](TinyOptions& o) {
         o.texts["rope.scaling.type"] = "linear";
         o.numbers["rope.scaling.factor"] = 4;
       }},
      {"RopeFactors", [](TinyOptions& o) { o.rope_factors = true; }},
      {"JoinedWithBiases",
       [](TinyOptions& o) {
         o.joined_qkv = o.biases = true;
         o.kv_heads = o.heads;
       }},
      {"LayerNormPlainGelu",
       [](TinyOptions& o) {
         o.rules.norm = NormKind::kLayer;
         o.rules.gated = false;
         o.rules.activation = Activation::kGelu;
         o.biases = true;
       }},
      {"ParallelOneNorm",
       [](TinyOptions& o) {
         o.rules.residual = Residual::kParallel;
         o.ffn_norm = false;
       }},
      {"ParallelTwoNorms", [](TinyOptions& o) { o.rules.residual = Residual::kByKey; }},
      {"ParallelByNorm",
       [](TinyOptions& o) {
         o.rules.residual = Residual::kByNorm;
         o.ffn_norm = false;
       }},
      {"NormsAfter",
       [](TinyOptions& o) {
         o.rules.norm_place = NormPlace::kAfter;
         o.rules.qk_norm = Presence::kAlways;
         o.qk_norm_shape = 2;
       }},
      {"HeadNorm", [](TinyOptions& o) { o.rules.qk_norm = Presence::kAlways; }},
      {"OwnHeadNorms",
       [](TinyOptions& o) {
         o.rules.norm = NormKind::kLayer;
         o.rules.qk_norm = Presence::kOptional;
         o.qk_norm_shape = 1;
       }},
      {"LearnedPositions",
       [](TinyOptions& o) {
         o.rules.rope = RopeStyle::kNone;
         o.rules.learned_positions = true;
       }},
      {"Alibi",
       [](TinyOptions& o) {
         o.rules.rope = RopeStyle::kNone;
         o.rules.alibi_max_bias = 8;
         o.rules.embedding_norm = true;
         o.rules.norm = NormKind::kLayer;
       }},
      {"Scales",
       [](TinyOptions& o) {
         o.rules.scales = true;
         o.numbers = {{"embedding_scale", 3},
                      {"residual_scale", 0.3},
                      {"logit_scale", 5},
                      {"attention.scale", 0.2}};
       }},
      {"Softcaps",
       [](TinyOptions& o) {
         o.numbers = {{"attn_logit_softcapping", 2}, {"final_logit_softcapping", 3}};
       }},
      {"SlidingWindow",
       [](TinyOptions& o) {
         o.rules.sliding_window_period = 2;
         o.counts["attention.sliding_window"] = 5;
       }},
      {"Experts",
       [](TinyOptions& o) {
         o.experts = 5;
         o.experts_used = 2;
       }},
      {"ExpertsWithShared",
       [](TinyOptions& o) {
         o.experts = 5;
         o.experts_used = 3;
         o.rules.normalize_experts = false;
         o.rules.shared_expert = true;
       }},
  };
}

// Logits at the wanted positions of each window, windows one after the other.
std::vector<float> Logits(const ReferenceModel& model, const Batch& batch, int threads = 2,
                          uint64_t slab = kSlab) {
  Products products(threads);
  Forward forward(model, batch.context, slab, products);
  const Matrix states = forward.States(batch, [](uint64_t) {});
  const uint64_t vocabulary = forward.graph().vocabulary;
  std::vector<float> logits(states.rows() * vocabulary);
  forward.Logits(states, 0, vocabulary, logits.data());
  return logits;
}

class ForwardOfGraph : public ::testing::TestWithParam<Case> {};

TEST_P(ForwardOfGraph, EqualsNaiveLoopsInDoublePrecision) {
  TinyOptions options;
  GetParam().set(options);
  constexpr size_t kContext = 20, kWindows = 2, kFirst = 7, kCount = 9;
  const auto tokens = RandomTokens(options, kContext * kWindows, 3);
  const auto logits = Logits(MakeModel(options), {tokens, kContext, kFirst, kCount});
  for (size_t window = 0; window < kWindows; ++window) {
    const auto begin = tokens.begin() + static_cast<ptrdiff_t>(window * kContext);
    const auto expected = NaiveLogits(options, {begin, begin + kContext});
    for (size_t i = 0; i < kCount; ++i) {
      for (size_t v = 0; v < options.vocabulary; ++v) {
        // Logits are sums of 32 products of about 0.3; f32 keeps 7 digits of each.
        ASSERT_NEAR(logits[((window * kCount) + i) * options.vocabulary + v],
                    expected[kFirst + i][v], 2e-5)
            << "window " << window << " position " << kFirst + i << " token " << v;
      }
    }
  }
}

TEST_P(ForwardOfGraph, GoesOnAfterCachedPositionsAsIfTheWholeTextWereGiven) {
  TinyOptions options;
  GetParam().set(options);
  const auto tokens = RandomTokens(options, 20, 4);
  const ReferenceModel model = MakeModel(options);
  const auto whole = Logits(model, {tokens, 20, 0, 20});
  Products products(2);
  Forward forward(model, tokens.size(), kSlab, products);
  KeyValueCache cache(forward.graph(), tokens.size());
  const size_t vocabulary = options.vocabulary;
  // The last position alone, or several, of pieces of several lengths.
  for (const auto& [length, wanted] : {std::pair{7, 7}, {1, 1}, {6, 2}, {1, 1}, {5, 1}}) {
    const size_t count = static_cast<size_t>(length), last = static_cast<size_t>(wanted);
    const auto piece = std::span(tokens).subspan(cache.length(), count);
    const Matrix states =
        forward.States({piece, count, count - last, last, &cache}, [](uint64_t) {});
    Matrix logits(last, vocabulary);
    forward.Logits(states, 0, vocabulary, logits.data());
    for (size_t i = 0; i < last; ++i) {
      const float* expected = whole.data() + (cache.length() - last + i) * vocabulary;
      // Each is within 2e-5 of the naive loops.
      for (size_t v = 0; v < vocabulary; ++v) ASSERT_NEAR(logits.row(i)[v], expected[v], 4e-5);
    }
  }
  EXPECT_EQ(cache.length(), tokens.size());
}

INSTANTIATE_TEST_SUITE_P(Graphs, ForwardOfGraph, ::testing::ValuesIn(Cases()),
                         [](const auto& at) { return at.param.name; });

TEST(Forward, GivesTheSameBitsWithAnyNumberOfThreads) {
  const TinyOptions options{.experts = 4, .experts_used = 2};
  const auto tokens = RandomTokens(options, 40, 5);
  const ReferenceModel model = MakeModel(options);
  const Batch batch = {tokens, 20, 0, 20};
  const auto one = Logits(model, batch, 1);
  for (const int threads : {2, 3, 7}) EXPECT_EQ(Logits(model, batch, threads), one) << threads;
}

TEST(Forward, DoesNotDependOnTheSlab) {
  const TinyOptions options;
  const auto tokens = RandomTokens(options, 40, 5);
  const ReferenceModel model = MakeModel(options);
  const Batch batch = {tokens, 20, 0, 20};
  const auto whole = Logits(model, batch);
  const auto rows = Logits(model, batch, 2, 1);  // a row at a time
  ASSERT_EQ(rows.size(), whole.size());
  for (size_t i = 0; i < rows.size(); ++i) ASSERT_NEAR(rows[i], whole[i], 2e-5);
}

TEST(Forward, GivesTheSameBitsWithWeightsThatAreKept) {
  const TinyOptions options{.experts = 4, .experts_used = 2, .joined_qkv = true};
  const auto tokens = RandomTokens(options, 40, 5);
  const ReferenceModel model = MakeModel(options);
  const Batch batch = {tokens, 20, 0, 20};
  constexpr uint64_t kSmallSlab = 2048;
  const auto expected = Logits(model, batch, 2, kSmallSlab);
  for (const uint64_t bytes : {0, 20000, 1 << 30}) {  // none, some, all
    Products products(2);
    Forward forward(model, batch.context, kSmallSlab, products);
    forward.KeepWeights(bytes);
    for (int run = 0; run < 2; ++run) {
      const Matrix states = forward.States(batch, [](uint64_t) {});
      Matrix logits(states.rows(), options.vocabulary);
      forward.Logits(states, 0, options.vocabulary, logits.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), logits.data())) << bytes;
    }
  }
}

TEST(Forward, ReadsEachWeightOncePerBatch) {
  const TinyOptions options;
  const ReferenceModel model = MakeModel(options);
  const auto tokens = RandomTokens(options, 80, 5);
  std::vector<uint64_t> layers;
  Products products(2);
  Forward forward(model, 20, kSlab, products);
  forward.States({tokens, 20, 10, 9}, [&](uint64_t layer) { layers.push_back(layer); });
  EXPECT_EQ(layers, (std::vector<uint64_t>{0, 1}));
}

TEST(Forward, TurnsWithYarnAsItsFormulaSays) {
  // Checked against llama.cpp by tests/conformance/logits.py; here only that short angles stay and
  // long ones shrink.
  const Rope rope = {.style = RopeStyle::kHalves,
                     .dimensions = 64,
                     .scale = 0.25,
                     .extrapolate = 1,
                     .magnitude = 1,
                     .original_context = 4096};
  const RopeTable table(rope, {}, 2);
  const RopeTable plain(Unscaled(rope), {}, 2);
  std::vector<float> row(64, 0.0f), unscaled(64, 0.0f);
  row[0] = unscaled[0] = 1;    // the fastest pair
  row[31] = unscaled[31] = 1;  // the slowest
  table.Turn(row.data(), 1, 64, 1);
  plain.Turn(unscaled.data(), 1, 64, 1);
  const float magnitude = static_cast<float>(1 + 0.1 * std::log(4.0));
  EXPECT_NEAR(row[32], unscaled[32] * magnitude, 1e-6);
  EXPECT_NEAR(row[63], unscaled[63] * magnitude / 4, 1e-7);
}

ErrorCode CodeOf(const TinyOptions& options,
                 const std::function<void(TinyTensors&, Metadata&)>& change,
                 std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8}) {
  const Error error = ErrorOf([&] {
    const ReferenceModel model = MakeModel(options, change);
    Logits(model, {tokens, tokens.size(), 0, tokens.size()});
  });
  return error.code();
}

TEST(Forward, RefusesTokensOutsideTheVocabulary) {
  EXPECT_EQ(CodeOf({}, {}, {1, 2, 40, 3}), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, {}, {1, 2, -1, 3}), ErrorCode::kBadValue);
}

TEST(Forward, NamesAMissingTensor) {
  const Error error = ErrorOf([] {
    const auto model = MakeModel(
        {}, [](TinyTensors& tensors, Metadata&) { tensors.erase("blk.1.ffn_gate.weight"); });
    Products products(1);
    Forward(model, 8, kSlab, products);
  });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.what(), HasSubstr("blk.1.ffn_gate.weight"));
}

TEST(Forward, RefusesDamagedModels) {
  const auto reshape = [](const char* name, Shape shape) {
    return [=](TinyTensors& tensors, Metadata&) {
      size_t count = 1;
      for (const uint64_t dim : shape) count *= dim;
      tensors[name] = {shape, std::vector<float>(count, 0.5f)};
    };
  };
  EXPECT_EQ(CodeOf({}, reshape("blk.0.attn_q.weight", {16, 32})), ErrorCode::kBadShape);
  EXPECT_EQ(CodeOf({}, reshape("blk.0.ffn_up.weight", {48})), ErrorCode::kBadShape);
  EXPECT_EQ(CodeOf({}, reshape("token_embd.weight", {40, 33})), ErrorCode::kBadShape);
  EXPECT_EQ(CodeOf({}, reshape("output_norm.weight", {31})), ErrorCode::kBadShape);
  EXPECT_EQ(CodeOf({}, reshape("blk.0.attn_sinks.weight", {4})), ErrorCode::kUnsupported);
  const auto weight = [](float value) {
    return [=](TinyTensors& t, Metadata&) { t["blk.1.ffn_down.weight"].values[77] = value; };
  };
  EXPECT_EQ(CodeOf({}, weight(std::numeric_limits<float>::quiet_NaN())), ErrorCode::kNonFinite);
  EXPECT_EQ(CodeOf({}, weight(std::numeric_limits<float>::infinity())), ErrorCode::kNonFinite);
  EXPECT_EQ(CodeOf({}, weight(3e38f)), ErrorCode::kNonFinite);  // overflows on the way
}

TEST(Forward, RefusesKeysThatMakeNoSense) {
  const auto set = [](const char* key, Value value) {
    return
        [=](TinyTensors&, Metadata& metadata) { metadata.Set(std::string("tiny.") + key, value); };
  };
  EXPECT_EQ(CodeOf({}, set("attention.head_count", 0u)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("attention.head_count", 0xffffffffu)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("attention.head_count_kv", 3u)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("attention.key_length", 0x7fffffffu)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("attention.value_length", 4u)), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf({}, set("attention.causal", false)), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf({}, set("attention.layer_norm_rms_epsilon", std::string("x"))),
            ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("rope.dimension_count", 7u)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("rope.dimension_count", 16u)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("rope.freq_base", 0.0f)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, set("rope.scaling.type", std::string("longrope"))), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf({}, set("block_count", 3u)), ErrorCode::kMissing);
  EXPECT_EQ(CodeOf({}, set("block_count", 0u)), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf({}, [](TinyTensors&, Metadata& m) { m.Remove("tiny.embedding_length"); }),
            ErrorCode::kMissing);
  TinyOptions learned;
  learned.rules.learned_positions = true;
  learned.context = 6;
  EXPECT_EQ(CodeOf(learned, {}), ErrorCode::kBadValue);
}

}  // namespace
}  // namespace quern::verify
