#include "converters/split.h"

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using Files = std::vector<uint32_t>;

const std::vector<SplitTensor> kFive = {{100, 0}, {100, 0}, {30, 1}, {70, 2}, {100, 2}};

TEST(SplitTensors, PutsSoManyTensorsIntoEachFile) {
  for (const SplitRules rules : {SplitRules::kConverter, SplitRules::kGgufSplit}) {
    const Split split = SplitTensors(kFive, {.rules = rules, .max_tensors = 2});
    EXPECT_EQ(split.files, (Files{0, 0, 1, 1, 2}));
    EXPECT_EQ(split.count, 3u);
    EXPECT_TRUE(split.named_as_shards);
    const Split after_empty =
        SplitTensors(kFive, {.rules = rules, .max_tensors = 2, .empty_first = true});
    EXPECT_EQ(after_empty.files, (Files{1, 1, 2, 2, 3}));
    EXPECT_EQ(after_empty.count, 4u);
  }
}

// gguf-split counts padding to 32 bytes, the converter does not.
TEST(SplitTensors, CountsBytesAsEachPeerDoes) {
  EXPECT_EQ(SplitTensors(kFive, {.rules = SplitRules::kConverter, .max_bytes = 200}).files,
            (Files{0, 0, 1, 1, 1}));
  EXPECT_EQ(SplitTensors(kFive, {.rules = SplitRules::kGgufSplit, .max_bytes = 200}).files,
            (Files{0, 1, 1, 2, 3}));
}

TEST(SplitTensors, ATensorAboveTheLimitGetsItsOwnFile) {
  const std::vector<SplitTensor> tensors = {{500, 0}, {10, 0}, {500, 0}};
  EXPECT_EQ(SplitTensors(tensors, {.rules = SplitRules::kConverter, .max_bytes = 64}).files,
            (Files{0, 1, 2}));
}

TEST(SplitTensors, AModelWithinTheLimitsStaysOneFileForTheConverterAndASetOfOneForGgufSplit) {
  const Split whole = SplitTensors(kFive, {.rules = SplitRules::kConverter, .max_tensors = 9});
  EXPECT_EQ(whole.count, 1u);
  EXPECT_FALSE(whole.named_as_shards);
  EXPECT_EQ(MetadataOfFile({}, whole, SplitRules::kConverter, 0).size(), 0u);
  const Split set = SplitTensors(kFive, {.rules = SplitRules::kGgufSplit, .max_tensors = 9});
  EXPECT_EQ(set.count, 1u);
  EXPECT_TRUE(set.named_as_shards);
  EXPECT_EQ(MetadataOfFile({}, set, SplitRules::kGgufSplit, 0).size(), 3u);
}

TEST(SplitTensors, KeepsTheFilesOfTheSource) {
  const Split split = SplitTensors(kFive, {.rules = SplitRules::kKeep});
  EXPECT_EQ(split.files, (Files{0, 0, 1, 2, 2}));
  EXPECT_EQ(split.count, 3u);
}

TEST(SplitTensors, RefusesMoreFilesThanASetCanHave) {
  const std::vector<SplitTensor> tensors(65536, SplitTensor{32, 0});
  EXPECT_QUERN_ERROR(SplitTensors(tensors, {.rules = SplitRules::kConverter, .max_tensors = 1}),
                     ErrorCode::kUsage);
}

TEST(MetadataOfFile, OnlyTheFirstFileHasTheModels) {
  Metadata model;
  model.Set("general.architecture", std::string("llama"));
  const Split split = SplitTensors(kFive, {.rules = SplitRules::kConverter, .max_tensors = 2});
  const Metadata first = MetadataOfFile(model, split, SplitRules::kConverter, 0);
  const Metadata second = MetadataOfFile(model, split, SplitRules::kConverter, 1);
  EXPECT_EQ(first.entries().front().first, "general.architecture");
  EXPECT_EQ(second.entries().front().first, "split.no");
  EXPECT_EQ(second.entries().back().first, "split.tensors.count");
  EXPECT_EQ(*second.Get<uint16_t>("split.no"), 1);
  EXPECT_EQ(*second.Get<uint16_t>("split.count"), 3);
  EXPECT_EQ(*second.Get<int32_t>("split.tensors.count"), 5);
  EXPECT_EQ(MetadataOfFile(model, split, SplitRules::kGgufSplit, 1).entries().back().first,
            "split.count");
}

}  // namespace
}  // namespace quern::converters
