#include "formats/imatrix/imatrix_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>

#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::imatrix {
namespace {

using quern::testing::ErrorOf;
using quern::testing::TempFolder;
using quern::testing::TestData;

// One matrix, and a mixture of three experts of which the second was never met.
ImatrixSums Example() {
  ImatrixSums sums;
  sums.chunk_size = 4;
  sums.datasets = {"first.txt", "second.txt"};
  sums.entries["blk.0.attn_q.weight"] = {{10, 20.5}, {8}};
  sums.entries["blk.0.ffn_up_exps.weight"] = {{1, 2, 0, 0, 5, 6}, {3, 0, 5}};
  return sums;
}

std::vector<uint8_t> Contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Imatrix WriteAndRead(const ImatrixSums& sums, ImatrixForm form) {
  const TempFolder folder;
  const auto path = folder.path() / "imatrix";
  WriteImatrix(sums, form, path, {});
  return ReadImatrix(path);
}

TEST(ImatrixWriter, GgufFormReadsBackWithCountsOfExperts) {
  const Imatrix imatrix = WriteAndRead(Example(), ImatrixForm::kGguf);
  ASSERT_EQ(imatrix.entries.size(), 2u);
  EXPECT_EQ(imatrix.entries.at("blk.0.attn_q.weight").values,
            (std::vector<float>{10.0f / 8, 20.5f / 8}));
  const ImatrixEntry& experts = imatrix.entries.at("blk.0.ffn_up_exps.weight");
  EXPECT_EQ(experts.values, (std::vector<float>{1.0f / 3, 2.0f / 3, 1, 1, 1, 6.0f / 5}));
  EXPECT_EQ(experts.counts, (std::vector<int64_t>{3, 0, 5}));
  EXPECT_EQ(imatrix.datasets, (std::vector<std::string>{"first.txt", "second.txt"}));
  EXPECT_EQ(imatrix.chunk_count, 2u);
  EXPECT_EQ(imatrix.chunk_size, 4u);
  EXPECT_FALSE(imatrix.counts_chunks);
}

TEST(ImatrixWriter, LegacyFormReadsBackWithOneCountAndOneText) {
  ImatrixSums sums = Example();
  sums.entries["blk.1.never.weight"] = {{0, 0}, {0}};
  const Imatrix imatrix = WriteAndRead(sums, ImatrixForm::kLegacy);
  ASSERT_EQ(imatrix.entries.size(), 2u);  // what has no data is left out
  const ImatrixEntry& experts = imatrix.entries.at("blk.0.ffn_up_exps.weight");
  EXPECT_EQ(experts.counts, std::vector<int64_t>{2});  // 5 tokens are two chunks of 4, rounded up
  EXPECT_EQ(experts.values, (std::vector<float>{1.0f / 3, 2.0f / 3, 1, 1, 1, 6.0f / 5}));
  EXPECT_EQ(imatrix.datasets, std::vector<std::string>{"second.txt"});
  EXPECT_EQ(imatrix.chunk_count, 2u);
  EXPECT_TRUE(imatrix.counts_chunks);
}

// What llama-imatrix wrote is read and written again: the same bytes, but for the last bits of
// values that were divided and multiplied once more.
TEST(ImatrixWriter, WritesLlamaImatrixsBytes) {
  for (const auto& [name, form] : {std::pair{"kjv-4m/imatrix.gguf", ImatrixForm::kGguf},
                                   std::pair{"kjv-4m/imatrix.dat", ImatrixForm::kLegacy}}) {
    ImatrixSums sums;
    sums.chunk_size = 256;
    AddImatrix(ReadImatrix(TestData("kjv-4m/imatrix.gguf")), "imatrix.gguf", sums);
    const std::vector<uint8_t> theirs = Contents(TestData(name));
    const std::vector<uint8_t> ours = EncodeImatrix(sums, form);
    ASSERT_EQ(ours.size(), theirs.size()) << name;
    const TempFolder folder;
    const Imatrix again = ReadImatrix(folder.Write("ours", ours));
    const auto differs = std::mismatch(ours.begin(), ours.end(), theirs.begin()).first;
    const auto same = static_cast<uint64_t>(differs - ours.begin());
    if (form == ImatrixForm::kGguf) {
      EXPECT_GE(same, OpenModel(TestData(name))->tensors().front().offset);
    }
    for (const auto& [tensor, entry] : ReadImatrix(TestData(name)).entries) {
      for (size_t i = 0; i < entry.values.size(); ++i) {
        ASSERT_NEAR(again.entries.at(tensor).values[i] / entry.values[i], 1, 3e-7) << tensor;
      }
      EXPECT_EQ(again.entries.at(tensor).counts, entry.counts);
    }
  }
}

TEST(ImatrixWriter, RefusesWhatNoFileCanHold) {
  for (const ImatrixForm form : {ImatrixForm::kGguf, ImatrixForm::kLegacy}) {
    EXPECT_QUERN_ERROR((void)EncodeImatrix({}, form), ErrorCode::kMissing);
    ImatrixSums empty;
    empty.entries["a"] = {{0}, {0}};
    EXPECT_QUERN_ERROR((void)EncodeImatrix(empty, form), ErrorCode::kMissing);
    for (const double bad : {1e39, std::numeric_limits<double>::quiet_NaN()}) {
      ImatrixSums sums = Example();
      sums.entries["blk.0.attn_q.weight"].sums[1] = bad;
      EXPECT_QUERN_ERROR((void)EncodeImatrix(sums, form), ErrorCode::kNonFinite);
    }
    ImatrixSums many = Example();
    many.entries["blk.0.attn_q.weight"].counts[0] = int64_t{1} << 62;
    EXPECT_QUERN_ERROR((void)EncodeImatrix(many, form), ErrorCode::kLimitExceeded);
  }
}

TEST(ImatrixWriter, KeepsAFileThatIsThereUnlessForced) {
  const TempFolder folder;
  const auto path = folder.Write("imatrix.gguf", "precious");
  EXPECT_QUERN_ERROR(WriteImatrix(Example(), ImatrixForm::kGguf, path, {}), ErrorCode::kExists);
  EXPECT_EQ(Contents(path).size(), 8u);
  WriteImatrix(Example(), ImatrixForm::kGguf, path, {.force = true});
  EXPECT_EQ(ReadImatrix(path).entries.size(), 2u);
}

TEST(AddImatrix, TwoHalvesAreTheWhole) {
  ImatrixSums half = Example();
  ImatrixSums other = Example();
  other.entries["blk.0.ffn_up_exps.weight"] = {{4, 4, 7, 8, 0, 0}, {2, 9, 0}};
  other.entries["blk.1.attn_q.weight"] = {{3}, {8}};
  other.datasets = {"third.txt"};
  ImatrixSums merged;
  merged.chunk_size = 4;
  AddImatrix(WriteAndRead(half, ImatrixForm::kGguf), "half", merged);
  AddImatrix(WriteAndRead(other, ImatrixForm::kGguf), "other", merged);
  const SumsEntry& experts = merged.entries.at("blk.0.ffn_up_exps.weight");
  EXPECT_EQ(experts.counts, (std::vector<int64_t>{5, 9, 5}));
  const std::vector<double> expected = {5, 6, 7, 8, 5, 6};  // the filler of the unseen adds nothing
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(experts.sums[i], expected[i], 1e-6);
  EXPECT_EQ(merged.entries.at("blk.0.attn_q.weight").counts, std::vector<int64_t>{16});
  EXPECT_NEAR(merged.entries.at("blk.0.attn_q.weight").sums[1], 41, 1e-5);
  EXPECT_EQ(merged.entries.at("blk.1.attn_q.weight").counts, std::vector<int64_t>{8});
  EXPECT_EQ(merged.datasets, (std::vector<std::string>{"first.txt", "second.txt", "third.txt"}));
  EXPECT_EQ(merged.ChunkCount(), 4);
}

TEST(AddImatrix, TakesTheLegacyFormsCountsForChunksOfAllExperts) {
  const Imatrix legacy = WriteAndRead(Example(), ImatrixForm::kLegacy);
  const Imatrix gguf = WriteAndRead(Example(), ImatrixForm::kGguf);
  for (const bool legacy_first : {true, false}) {
    ImatrixSums merged;
    merged.chunk_size = 4;
    AddImatrix(legacy_first ? legacy : gguf, "one", merged);
    AddImatrix(legacy_first ? gguf : legacy, "two", merged);
    const SumsEntry& experts = merged.entries.at("blk.0.ffn_up_exps.weight");
    EXPECT_EQ(experts.counts, (std::vector<int64_t>{8 + 3, 8, 8 + 5})) << legacy_first;
    EXPECT_NEAR(experts.sums[0], 8.0 / 3 + 1, 1e-6);
    EXPECT_NEAR(experts.sums[2], 8, 1e-6);
    EXPECT_EQ(merged.entries.at("blk.0.attn_q.weight").counts, std::vector<int64_t>{16});
  }
  ImatrixSums alone;
  alone.chunk_size = 4;
  AddImatrix(legacy, "one", alone);
  EXPECT_EQ(alone.entries.at("blk.0.ffn_up_exps.weight").counts, std::vector<int64_t>{8});
}

TEST(AddImatrix, RefusesAnotherModelsValuesAndNamesTheFile) {
  const auto refuses = [](SumsEntry entry) {
    ImatrixSums sums = Example();
    ImatrixSums other = Example();
    other.entries["blk.0.ffn_up_exps.weight"] = std::move(entry);
    const Imatrix imatrix = WriteAndRead(other, ImatrixForm::kGguf);
    const Error error = ErrorOf([&] { AddImatrix(imatrix, "other.gguf", sums); });
    EXPECT_EQ(error.code(), ErrorCode::kMismatch);
    EXPECT_EQ(error.where().file, "other.gguf");
    EXPECT_EQ(error.where().subject, "blk.0.ffn_up_exps.weight");
  };
  refuses({{1, 2, 3, 4}, {1, 1}});
  refuses({{1, 2, 3, 4, 5, 6}, {1, 1}});
  refuses({{1, 2}, {1}});
}

TEST(AddImatrix, RefusesCountsThatOverflow) {
  Imatrix huge;
  huge.entries["a"] = {{1.0f}, {int64_t{1} << 62}};
  ImatrixSums sums;
  AddImatrix(huge, "huge", sums);
  EXPECT_QUERN_ERROR(AddImatrix(huge, "huge", sums), ErrorCode::kLimitExceeded);
  huge.counts_chunks = true;
  ImatrixSums fresh;
  EXPECT_QUERN_ERROR(AddImatrix(huge, "huge", fresh), ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace quern::formats::imatrix
