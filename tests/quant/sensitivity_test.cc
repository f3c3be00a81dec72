#include "quant/sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::quant {
namespace {

using ::testing::ElementsAre;

RecipeTensor Matrix(const char* name, TensorType type = TensorType::kF16) {
  return {name, {256, 256}, type};
}

TEST(Sensitivity, OutputAndEmbeddingsCountByTheNumberOfBlocks) {
  const std::vector<RecipeTensor> tensors = {Matrix("output.weight"), Matrix("token_embd.weight"),
                                             Matrix("blk.0.attn_q.weight")};
  EXPECT_THAT(Sensitivities({.block_count = 8}, tensors), ElementsAre(32, 8, 1));
  EXPECT_THAT(Sensitivities({}, tensors), ElementsAre(4, 1, 1));
}

TEST(Sensitivity, EmbeddingsThatServeAsOutputCountAsBoth) {
  const std::vector<RecipeTensor> tensors = {Matrix("token_embd.weight")};
  EXPECT_THAT(Sensitivities({.block_count = 2}, tensors), ElementsAre(10));
}

TEST(DominantFileType, IsTheTypeOfMostBytesNotOfMostTensors) {
  const std::vector<RecipeTensor> tensors = {Matrix("a", TensorType::kQ3_K),
                                             Matrix("b", TensorType::kQ3_K),
                                             Matrix("c", TensorType::kQ8_0)};
  EXPECT_EQ(DominantFileType(tensors), 1024 + FindFileType("Q8_0")->id);
  EXPECT_EQ(DominantFileType(std::span(tensors).first(2)), 1024 + FindFileType("Q3_K_M")->id);
  EXPECT_EQ(DominantFileType({}), 1024 + FindFileType("F32")->id);
}

TEST(Recipe, FixedAreTensorsThatNatureOrAnOptionDecides) {
  std::vector<RecipeTensor> tensors = {Matrix("output.weight"),
                                       {"output_norm.weight", {256}, {}},
                                       Matrix("token_embd.weight"),
                                       Matrix("blk.0.attn_k.weight"),
                                       Matrix("blk.0.attn_q.weight")};
  RecipeOptions options;
  options.leave_output_tensor = true;
  options.token_embedding_type = TensorType::kQ6_K;
  options.tensor_types = {{"attn_k", TensorType::kQ4_0}};
  std::vector<bool> fixed;
  for (const TypeChoice& choice :
       ChooseTypes(*FindFileType("Q8_0"), {.block_count = 1}, tensors, options)) {
    fixed.push_back(choice.fixed);
  }
  EXPECT_THAT(fixed, ElementsAre(true, true, true, true, false));
}

}  // namespace
}  // namespace quern::quant
