#include "converters/slab_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <stdexcept>

#include "quant/codec.h"

namespace quern::converters {
namespace {

constexpr uint64_t kRows = 2 * 150, kColumns = 512;  // two matrices, more than one tile each

// A stack of two matrices in F32 that is to become `type`.
struct Fixture {
  explicit Fixture(float weight = 0) : weights(kRows * kColumns, weight) {
    if (weight == 0) {
      std::mt19937 random(5);
      for (float& w : weights) w = std::normal_distribution<float>(0, 1)(random);
    }
    tensor.name = "stack";
    tensor.value.shape = {2, kRows / 2, kColumns};
    tensor.value.type = TensorType::kF32;
  }
  std::span<const uint8_t> bytes() const {
    return {reinterpret_cast<const uint8_t*>(weights.data()), weights.size() * sizeof(float)};
  }
  void Encode(SlabEncoder& encoder, std::span<Encoding> encodings) const {
    encoder.Encode(tensor, 0, kRows, bytes(), encodings,
                   [](const std::string& what) { throw std::runtime_error(what); });
  }

  std::vector<float> weights;
  OutputTensor tensor;
};

PlannedTensor Planned(TensorType type, std::optional<TensorType> via = {}) {
  PlannedTensor planned;
  planned.type = type;
  planned.via = via;
  return planned;
}

TEST(SlabEncoder, GivesEachOfSeveralTargetsWhatItWouldGetAlone) {
  const Fixture fixture;
  std::vector<PlannedTensor> planned = {
      Planned(TensorType::kQ8_0, TensorType::kF16), Planned(TensorType::kBF16),
      Planned(TensorType::kQ4_K, TensorType::kBF16), Planned(TensorType::kQ6_K, TensorType::kBF16),
      Planned(TensorType::kF16)};
  std::vector<float> importance(2 * kColumns);
  for (size_t i = 0; i < importance.size(); ++i) importance[i] = 0.5f + static_cast<float>(i % 7);
  planned[2].importance = importance;
  SlabEncoder together(false);
  std::vector<Encoding> encodings(planned.size());
  for (size_t i = 0; i < planned.size(); ++i) encodings[i].planned = &planned[i];
  fixture.Encode(together, encodings);
  for (size_t i = 0; i < planned.size(); ++i) {
    SlabEncoder alone(false);
    Encoding encoding{.planned = &planned[i]};
    fixture.Encode(alone, {&encoding, 1});
    EXPECT_TRUE(encodings[i].blocks == encoding.blocks) << Name(planned[i].type);
  }
}

TEST(SlabEncoder, MeasuresAgainstTheWeightsBeforeAnyRounding) {
  const float weight = 1 + 0x1p-10f;  // half a step of BF16 would be 2^-8
  const Fixture fixture(weight);
  const PlannedTensor planned = Planned(TensorType::kF16, TensorType::kBF16);
  SlabEncoder encoder(true);
  Encoding encoding{.planned = &planned};
  fixture.Encode(encoder, {&encoding, 1});
  ASSERT_EQ(encoding.errors.rows().size(), kRows);
  EXPECT_EQ(encoding.errors.rows()[kRows - 1].largest_error, 0x1p-10);
}

TEST(SlabEncoder, NamesTheWeightThatIsOrBecomesInfinite) {
  Fixture fixture;
  fixture.weights[40000] = 1e6f;
  const auto message = [&](const PlannedTensor& planned) -> std::string {
    SlabEncoder encoder(false);
    Encoding encoding{.planned = &planned};
    try {
      fixture.Encode(encoder, {&encoding, 1});
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(message(Planned(TensorType::kQ8_0)), "");
  EXPECT_THAT(message(Planned(TensorType::kF16)), testing::HasSubstr("weight 40000 is 1000000"));
  EXPECT_THAT(message(Planned(TensorType::kQ8_0, TensorType::kF16)),
              testing::HasSubstr("weight 40000 is not a finite number in F16"));
  fixture.weights[70000] = NAN;
  EXPECT_THAT(message(Planned(TensorType::kQ8_0)), testing::HasSubstr("weight 70000 is not"));
}

}  // namespace
}  // namespace quern::converters
