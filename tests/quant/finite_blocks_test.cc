#include "quant/finite_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "quant/codec.h"
#include "quant/finite.h"

namespace quern::quant {
namespace {

// Blocks of random weights; of types that are only decoded, zeros.
std::vector<uint8_t> Blocks(const Codec& codec, size_t blocks) {
  const auto& info = Info(codec.type);
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.5f);
  std::vector<float> weights(blocks * info.block_elements), importance(weights.size(), 1.0f);
  for (float& weight : weights) weight = normal(random);
  std::vector<uint8_t> bytes(blocks * info.block_bytes);
  if (codec.quantize != nullptr) {
    if (codec.set_up != nullptr) codec.set_up();
    codec.quantize(weights.data(), bytes.data(), 1, weights.size(), importance.data());
  }
  return bytes;
}

class FiniteBlocks : public ::testing::TestWithParam<Codec> {};

TEST_P(FiniteBlocks, PassQuantizedWeights) {
  EXPECT_FALSE(FirstNonFiniteBlock(GetParam().type, Blocks(GetParam(), 5)));
  EXPECT_FALSE(FirstNonFiniteBlock(GetParam().type, {}));
}

// Wherever two or four bytes that are set decode to NaN or infinity, the scan must see it, and name
// the block.
TEST_P(FiniteBlocks, FindWhateverDecodesToNanOrInfinity) {
  const Codec& codec = GetParam();
  const auto& info = Info(codec.type);
  const std::vector<uint8_t> good = Blocks(codec, 3);
  std::vector<float> weights(3 * info.block_elements);
  // A scale wider than f16 can be finite and give infinite floats.
  const bool wide = codec.type == TensorType::kF64 || codec.type == TensorType::kQ8_K;
  size_t found = 0;
  for (size_t at = info.block_bytes; at < 2 * info.block_bytes; ++at) {
    for (const uint8_t value : {0x7f, 0xff, 0x7c, 0xfc}) {
      if (wide && ((value & 3) == 0 || (at - info.block_bytes) % 4 == 0)) continue;
      std::vector<uint8_t> bad = good;
      bad[at] = value;
      if (at > info.block_bytes) bad[at - 1] = 0xff;
      codec.dequantize(bad.data(), weights.data(), weights.size());
      const auto nonfinite = FirstNonFinite(weights);
      const auto block = FirstNonFiniteBlock(codec.type, bad);
      if (!nonfinite) continue;
      ++found;
      ASSERT_TRUE(block) << Name(codec.type) << " byte " << at - info.block_bytes;
      EXPECT_EQ(*block, *nonfinite / info.block_elements);
    }
  }
  // These two have no such scales as far as decoding goes.
  if (codec.type != TensorType::kMXFP4 && codec.type != TensorType::kNVFP4 &&
      codec.type != TensorType::kIQ1_M) {
    EXPECT_GT(found, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(AllTypes, FiniteBlocks,
                         ::testing::ValuesIn(Codecs().begin(), Codecs().end()),
                         [](const auto& test) { return std::string(Name(test.param.type)); });

TEST(FiniteBlocksOf, FindNanInTheScatteredScaleOfIq1M) {
  std::vector<uint8_t> blocks(2 * 56);
  // Digits of the f16 from the lowest: 0, 0, c, 7: 0x7c00 is infinity.
  blocks[56 + 48 + 5] = 0xc0;
  blocks[56 + 48 + 7] = 0x70;
  EXPECT_EQ(FirstNonFiniteBlock(TensorType::kIQ1_M, blocks), 1u);
  blocks[56 + 48 + 5] = 0xb0;
  EXPECT_FALSE(FirstNonFiniteBlock(TensorType::kIQ1_M, blocks));
}

TEST(FiniteBlocksOf, FindTheExponentThatMxfp4Forbids) {
  std::vector<uint8_t> blocks(3 * 17);
  blocks[34] = 0xfe;
  EXPECT_FALSE(FirstNonFiniteBlock(TensorType::kMXFP4, blocks));
  blocks[34] = 0xff;
  EXPECT_EQ(FirstNonFiniteBlock(TensorType::kMXFP4, blocks), 2u);
}

TEST(FiniteBlocksOf, KnowF8) {
  const std::vector<uint8_t> e4m3 = {0x7e, 0xfe, 0x7f}, e5m2 = {0x7b, 0xfb, 0x80, 0xfc};
  EXPECT_EQ(FirstNonFiniteBlock(TensorType::kF8E4M3, e4m3), 2u);
  EXPECT_EQ(FirstNonFiniteBlock(TensorType::kF8E5M2, e5m2), 3u);
  EXPECT_FALSE(CanBeNonFinite(TensorType::kI32));
}

}  // namespace
}  // namespace quern::quant
