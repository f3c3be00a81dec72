#include "quant/blocks.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <vector>

#include "quant/codec.h"
#include "tests/quant/oracle_testing.h"
#include "tests/quant/weights_testing.h"

namespace quern::quant {
namespace {

using testing::Oracle;

// Bit patterns of every exponent and sign with mantissas around the points where f16 and bf16
// round, every value between two neighbouring f16 included in part, and random ones.
std::vector<float> DenseFloats() {
  std::vector<float> values;
  const auto add = [&](uint32_t bits) { values.push_back(std::bit_cast<float>(bits)); };
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x0FFFu, 0x1000u, 0x1001u, 0x2000u, 0x3000u,
                                 0x7FFFu, 0x8000u, 0x8001u, 0xF000u, 0xFFFFu}) {
      add(upper << 16 | lower);
    }
  }
  testing::Random random(9);
  for (int i = 0; i < 500000; ++i) add(static_cast<uint32_t>(random.Bits()));
  return values;
}

TEST(Blocks, LayoutsHaveTheSizesOfTheTypeTable) {
  EXPECT_EQ(kQ4_0Layout.bytes(), Info(TensorType::kQ4_0).block_bytes);
  EXPECT_EQ(kQ4_1Layout.bytes(), Info(TensorType::kQ4_1).block_bytes);
  EXPECT_EQ(kQ5_0Layout.bytes(), Info(TensorType::kQ5_0).block_bytes);
  EXPECT_EQ(kQ5_1Layout.bytes(), Info(TensorType::kQ5_1).block_bytes);
  EXPECT_EQ(kQ8_0Bytes, Info(TensorType::kQ8_0).block_bytes);
}

TEST(F16, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = F16ToF32(static_cast<uint16_t>(half));
    const bool is_nan = (half & 0x7FFF) > 0x7C00;
    ASSERT_EQ(std::isnan(value), is_nan) << half;
    ASSERT_EQ(F32ToF16(value), is_nan ? ((half & 0x8000) | 0x7E00) : half);
  }
}

TEST(F16, RoundsToNearestEvenAtTheEdges) {
  EXPECT_EQ(F32ToF16(65504.0f), 0x7BFF);
  EXPECT_EQ(F32ToF16(65519.996f), 0x7BFF);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7C00);
  EXPECT_EQ(F32ToF16(0x1p-25f), 0x0000);  // tie, to even
  EXPECT_EQ(F32ToF16(0x1.000002p-25f), 0x0001);
  EXPECT_EQ(F32ToF16(0x1.8p-24f), 0x0002);    // tie, to even
  EXPECT_EQ(F32ToF16(0x1.ff8p-15f), 0x03FF);  // largest subnormal
  EXPECT_EQ(F32ToF16(0x1.ffcp-15f), 0x0400);  // tie, to even
  EXPECT_EQ(F32ToF16(0x1.fffffep-15f), 0x0400);
  EXPECT_EQ(F32ToF16(1.0f + 0x1p-11f), 0x3C00);     // tie, to even
  EXPECT_EQ(F32ToF16(-1.0f - 0x1.8p-10f), 0xBC02);  // tie, to even
}

TEST(F16, EqualsGgml) {
  const Oracle* oracle = Oracle::Get();
  if (!oracle) GTEST_SKIP() << "no libggml-base.so (QUERN_ORACLE)";
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const uint16_t h = static_cast<uint16_t>(half);
    ASSERT_EQ(std::bit_cast<uint32_t>(F16ToF32(h)), std::bit_cast<uint32_t>(oracle->F16ToF32(h)))
        << half;
  }
  for (const float value : DenseFloats()) {
    ASSERT_EQ(F32ToF16(value), oracle->F32ToF16(value)) << std::bit_cast<uint32_t>(value);
  }
}

TEST(BF16, EqualsGgml) {
  const Oracle* oracle = Oracle::Get();
  if (!oracle) GTEST_SKIP() << "no libggml-base.so (QUERN_ORACLE)";
  const std::vector<float> values = DenseFloats();
  std::vector<uint16_t> expected(values.size());
  oracle->Quantize(TensorType::kBF16, values.data(), reinterpret_cast<uint8_t*>(expected.data()), 1,
                   values.size(), nullptr);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(F32ToBF16(values[i]), expected[i]) << std::bit_cast<uint32_t>(values[i]);
  }
}

TEST(NearestInt, RoundsHalfToEven) {
  testing::Random random(4);
  for (const float value : {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 0.49999997f, 4194303.0f, -4194304.0f}) {
    EXPECT_EQ(NearestInt(value), static_cast<int>(std::nearbyint(value))) << value;
  }
  for (int i = 0; i < 100000; ++i) {
    const float value = 100 * random.Normal();
    ASSERT_EQ(NearestInt(value), static_cast<int>(std::nearbyint(value))) << value;
  }
}

// The harness of codec_test.cc treats all NaNs as one; here every bit counts.
class FloatCodecTest : public ::testing::TestWithParam<TensorType> {};

TEST_P(FloatCodecTest, KernelsEqualReferenceForEveryPattern) {
  const Codec& codec = *FindCodec(GetParam());
  const std::vector<float> values = DenseFloats();
  std::vector<uint16_t> expected(values.size());
  std::vector<uint16_t> actual(values.size());
  std::vector<uint16_t> halves(0x10000);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<uint32_t> expected_bits(halves.size());
  std::vector<uint32_t> actual_bits(halves.size());
  const auto bytes = [](auto& vector) { return reinterpret_cast<uint8_t*>(vector.data()); };
  const auto floats = [](auto& vector) { return reinterpret_cast<float*>(vector.data()); };
  codec.quantize_reference(values.data(), bytes(expected), 1, values.size(), nullptr);
  codec.dequantize_reference(bytes(halves), floats(expected_bits), halves.size());
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    codec.quantize(values.data(), bytes(actual), 1, values.size(), nullptr);
    codec.dequantize(bytes(halves), floats(actual_bits), halves.size());
    hwy::SetSupportedTargetsForTest(0);
    EXPECT_TRUE(expected == actual);
    EXPECT_TRUE(expected_bits == actual_bits);
  }
}

INSTANTIATE_TEST_SUITE_P(Float, FloatCodecTest,
                         ::testing::Values(TensorType::kF16, TensorType::kBF16),
                         [](const auto& param) { return std::string(Name(param.param)); });

// Q8_0 rounds half away from zero; its kernel does so by another way than std::round.
TEST(Q8_0, KernelsRoundLikeRoundf) {
  std::vector<float> weights;
  for (int half_steps = -254; half_steps <= 254; ++half_steps) {
    const float middle = 0.5f * static_cast<float>(half_steps);
    const float near[] = {std::nextafter(middle, -200.0f), middle, std::nextafter(middle, 200.0f)};
    for (const float value : near) {
      if (weights.size() % 32 == 0) weights.push_back(127.0f);  // makes the scale 1
      weights.push_back(std::fmin(std::fmax(value, -127.0f), 127.0f));
    }
  }
  weights.resize((weights.size() + 31) / 32 * 32);
  const Codec& codec = *FindCodec(TensorType::kQ8_0);
  std::vector<uint8_t> expected(weights.size() / 32 * 34);
  std::vector<uint8_t> actual(expected.size());
  codec.quantize_reference(weights.data(), expected.data(), 1, weights.size(), nullptr);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    codec.quantize(weights.data(), actual.data(), 1, weights.size(), nullptr);
    hwy::SetSupportedTargetsForTest(0);
    EXPECT_EQ(expected, actual);
  }
}

}  // namespace
}  // namespace quern::quant
