#include "quant/imatrix.h"

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace quern::quant {
namespace {

Imatrix Example() {
  Imatrix imatrix;
  imatrix.entries["blk.0.ffn_up_exps.weight"] = {std::vector<float>(6, 1.0f), {3, 4, 5}};
  imatrix.entries["blk.0.attn_v.weight"] = {{2.0f, 3.0f}, {7}};
  imatrix.entries["token_embd.weight"] = {{1.0f}, {7}};
  imatrix.datasets = {std::string(200, 'd'), "second.txt"};
  imatrix.chunk_count = 40;
  return imatrix;
}

RecipeTensor Tensor(const std::string& name, Shape shape) {
  return {name, std::move(shape), TensorType::kF16};
}

TEST(ImportanceOf, GivesOneValuePerColumnAndMatrix) {
  const Imatrix imatrix = Example();
  EXPECT_EQ(ImportanceOf(imatrix, Tensor("blk.0.ffn_up_exps.weight", {3, 5, 2}), {}).size(), 6u);
  const auto values = ImportanceOf(imatrix, Tensor("blk.0.attn_v.weight", {9, 2}), {});
  EXPECT_EQ(std::vector<float>(values.begin(), values.end()), (std::vector<float>{2.0f, 3.0f}));
}

TEST(ImportanceOf, IsEmptyWhereNoneIsThereUnlessRequired) {
  const RecipeTensor tensor = Tensor("blk.1.attn_v.weight", {9, 2});
  EXPECT_TRUE(ImportanceOf(Example(), tensor, {}).empty());
  TypeChoice choice{TensorType::kIQ2_XS, "test"};
  choice.requires_imatrix = true;
  EXPECT_QUERN_ERROR((void)ImportanceOf(Example(), tensor, choice), ErrorCode::kMissing);
}

TEST(ImportanceOf, RefusesAnotherSizeExceptForTokenEmbeddings) {
  EXPECT_QUERN_ERROR((void)ImportanceOf(Example(), Tensor("blk.0.attn_v.weight", {9, 3}), {}),
                     ErrorCode::kMismatch);
  EXPECT_QUERN_ERROR((void)ImportanceOf(Example(), Tensor("blk.0.ffn_up_exps.weight", {5, 2}), {}),
                     ErrorCode::kMismatch);
  const uint64_t big = uint64_t{1} << 63;
  EXPECT_QUERN_ERROR(
      (void)ImportanceOf(Example(), Tensor("blk.0.attn_v.weight", {big, 1, big}), {}),
      ErrorCode::kMismatch);
  EXPECT_TRUE(ImportanceOf(Example(), Tensor("token_embd.weight", {9, 2}), {}).empty());
}

TEST(FilterImatrix, KeepsOrDropsByPartOfTheName) {
  const std::vector<std::string> parts = {"attn_v", "token"};
  Imatrix kept = Example();
  FilterImatrix(parts, {}, kept);
  EXPECT_EQ(kept.entries.size(), 2u);
  Imatrix rest = Example();
  FilterImatrix({}, parts, rest);
  EXPECT_EQ(rest.entries.size(), 1u);
  EXPECT_TRUE(rest.entries.contains("blk.0.ffn_up_exps.weight"));
  EXPECT_QUERN_ERROR(FilterImatrix(parts, parts, rest), ErrorCode::kUsage);
}

TEST(AddImatrixMetadata, AppendsWhatIsKnownCutTo127Bytes) {
  Metadata metadata;
  metadata.Set("quantize.imatrix.file", std::string("old"));
  metadata.Set("general.file_type", uint32_t{15});
  AddImatrixMetadata("x.gguf", Example(), metadata);
  const auto& entries = metadata.entries();
  ASSERT_EQ(entries.size(), 5u);
  EXPECT_EQ(entries[1], Metadata::Entry("quantize.imatrix.file", std::string("x.gguf")));
  EXPECT_EQ(entries[2], Metadata::Entry("quantize.imatrix.dataset", std::string(127, 'd')));
  EXPECT_EQ(entries[3], Metadata::Entry("quantize.imatrix.entries_count", uint32_t{3}));
  EXPECT_EQ(entries[4], Metadata::Entry("quantize.imatrix.chunks_count", uint32_t{40}));
  Metadata bare;
  AddImatrixMetadata("x.dat", Imatrix{}, bare);
  EXPECT_EQ(bare.size(), 2u);
}

}  // namespace
}  // namespace quern::quant
