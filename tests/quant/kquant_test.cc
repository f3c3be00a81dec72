// What the registry's harness (codec_test.cc) cannot see: the packing of K-quant fields, rounding,
// and the corners of the scale searches.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "quant/kquant_blocks.h"
#include "quant/kquant_ref.h"
#include "quant/kquant_scales.h"
#include "quant/scale_search_ref.h"
#include "tests/quant/weights_testing.h"

namespace quern::quant {
namespace {

TEST(KQuantScales, SixBitPackingKeepsEveryValueInEveryPlace) {
  for (int place = 0; place < 16; ++place) {
    for (int value = 0; value < 64; ++value) {
      for (const uint8_t others : {0, 63, 42}) {
        std::array<uint8_t, 16> fields;  // 8 scales, 8 mins
        fields.fill(others);
        fields[place] = static_cast<uint8_t>(value);
        uint8_t packed[12];
        Pack6Bit(fields.data(), fields.data() + 8, packed);
        std::array<uint8_t, 16> unpacked;
        Unpack6Bit(packed, unpacked.data(), unpacked.data() + 8);
        ASSERT_EQ(fields, unpacked) << "place " << place << ", value " << value;
      }
    }
  }
}

TEST(KQuantScales, Q3PackingKeepsEveryValueInEveryPlace) {
  for (int place = 0; place < 16; ++place) {
    for (int value = 0; value < 64; ++value) {
      for (const uint8_t others : {0, 63, 42}) {
        std::array<uint8_t, 16> fields;
        fields.fill(others);
        fields[place] = static_cast<uint8_t>(value);
        uint8_t packed[12];
        PackQ3Scales(fields.data(), packed);
        std::array<uint8_t, 16> unpacked;
        UnpackQ3Scales(packed, unpacked.data());
        ASSERT_EQ(fields, unpacked) << "place " << place << ", value " << value;
      }
    }
  }
}

template <class Block>
class KQuantBlock : public ::testing::Test {};
using Blocks = ::testing::Types<Q2KBlock, Q3KBlock, Q4KBlock, Q5KBlock, Q6KBlock>;
TYPED_TEST_SUITE(KQuantBlock, Blocks);

template <class Block>
constexpr int Levels() {
  if constexpr (KTraits<Block>::kHasMin) {
    return KTraits<Block>::kPlain.levels + 1;
  } else {
    return 2 * KTraits<Block>::kHalf;
  }
}

TYPED_TEST(KQuantBlock, PackingKeepsEveryQuantInEveryPlace) {
  for (size_t place = 0; place < kSuperblock; ++place) {
    for (int value = 0; value < Levels<TypeParam>(); ++value) {
      for (const int others : {0, Levels<TypeParam>() - 1}) {
        std::array<uint8_t, kSuperblock> q;
        q.fill(static_cast<uint8_t>(others));
        q[place] = static_cast<uint8_t>(value);
        TypeParam block;
        PackQuants(q.data(), &block);
        std::array<uint8_t, kSuperblock> unpacked;
        UnpackQuants(block, unpacked.data());
        ASSERT_EQ(q, unpacked) << "weight " << place << ", quant " << value;
      }
    }
  }
}

TYPED_TEST(KQuantBlock, ZerosDecodeToZeros) {
  const std::vector<float> zeros(kSuperblock, 0.0f);
  TypeParam block;
  QuantizeSuperblock(zeros.data(), nullptr, &block);
  std::vector<float> decoded(kSuperblock, 1.0f);
  DequantizeKReference<TypeParam>(reinterpret_cast<const uint8_t*>(&block), decoded.data(),
                                  kSuperblock);
  for (const float value : decoded) EXPECT_EQ(value, 0.0f);
}

// The error of a weight is at most about a step of its block; steps of the scales and the limited
// quants at the ends widen it. Half of the largest weight would be a broken layout.
TYPED_TEST(KQuantBlock, DecodedWeightsAreNearTheOriginals) {
  std::vector<float> x(kSuperblock);
  testing::FillWeights(testing::Distribution::kNormal, 11, x);
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::fabs(value));
  TypeParam block;
  QuantizeSuperblock(x.data(), nullptr, &block);
  std::vector<float> decoded(kSuperblock);
  DequantizeKReference<TypeParam>(reinterpret_cast<const uint8_t*>(&block), decoded.data(),
                                  kSuperblock);
  const float tolerance = 2.0f * largest / static_cast<float>(Levels<TypeParam>());
  for (size_t i = 0; i < kSuperblock; ++i) EXPECT_NEAR(x[i], decoded[i], tolerance);
}

TEST(NearestInt, RoundsHalvesToEven) {
  EXPECT_EQ(NearestInt(0.5f), 0);
  EXPECT_EQ(NearestInt(1.5f), 2);
  EXPECT_EQ(NearestInt(2.5f), 2);
  EXPECT_EQ(NearestInt(-0.5f), 0);
  EXPECT_EQ(NearestInt(-1.5f), -2);
  EXPECT_EQ(NearestInt(0.49999997f), 0);
  EXPECT_EQ(NearestInt(-31.5f), -32);
}

TEST(NearestInt, DefinesEveryInput) {
  EXPECT_EQ(NearestInt(4194303.0f), 4194303);
  EXPECT_EQ(NearestInt(-4194304.0f), -4194304);
  EXPECT_EQ(NearestInt(std::numeric_limits<float>::infinity()), -4194304);
  EXPECT_EQ(NearestInt(-std::numeric_limits<float>::infinity()), -4194304);
  EXPECT_EQ(NearestInt(std::numeric_limits<float>::quiet_NaN()), 0);
}

TEST(ScaleSearch, FlatBlocksHaveNoScale) {
  const std::vector<float> x(32, -2.0f);
  const std::vector<float> weights(32, 1.0f);
  uint8_t q[32];
  std::memset(q, 9, sizeof(q));
  const ScaleMin fit = FitScaleMin(KTraits<Q4KBlock>::kPlain, 32, x.data(), weights.data(), q);
  EXPECT_EQ(fit.scale, 0.0f);
  EXPECT_EQ(fit.min, 2.0f);
  for (const uint8_t level : q) EXPECT_EQ(level, 0);
}

TEST(ScaleSearch, FindsAnExactGrid) {
  std::vector<float> x(16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.25f * static_cast<float>(i % 8) - 1.0f;
  const std::vector<float> weights(16, 1.0f);
  uint8_t q[16];
  EXPECT_EQ(FitScale(4, 16, x.data(), weights.data(), q), 0.25f);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(q[i], i % 8);
  EXPECT_EQ(FitScaleByDescent(4, 16, x.data(), q), 0.25f);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(q[i], i % 8);
}

TEST(ScaleSearch, TinyBlocksCountAsZero) {
  const std::vector<float> x(16, 0.9e-15f);
  const std::vector<float> weights(16, 1.0f);
  uint8_t q[16];
  EXPECT_EQ(FitScale(32, 16, x.data(), weights.data(), q), 0.0f);
  EXPECT_EQ(FitScaleByDescent(4, 16, x.data(), q), 0.0f);
  EXPECT_EQ(FitPositiveScale(63, 16, x.data(), weights.data(), q), 0.0f);
  for (const uint8_t level : q) EXPECT_EQ(level, 0);
}

}  // namespace
}  // namespace quern::quant
