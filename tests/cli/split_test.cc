#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();

class SplitMerge : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  int Run(const std::vector<std::string>& arguments) const { return RunQuern(arguments).code; }
  void MakeModel(const std::string& name) const {
    ASSERT_EQ(Run({"convert", kModel, "-t", "Q8_0", "-o", Path(name)}), 0);
  }
  // Splits a model to part-0000N-of-00004.gguf.
  void MakeShards() const {
    MakeModel("model.gguf");
    const auto tensors = formats::OpenModel(Path("model.gguf"))->tensors().size();
    const std::string limit = std::to_string((tensors + 3) / 4);
    ASSERT_EQ(Run({"split", Path("model.gguf"), Path("part"), "--split-max-tensors", limit}), 0);
    ASSERT_TRUE(fs::exists(Path("part-00004-of-00004.gguf")));
  }
  const TempFolder folder_;
};

void ExpectSameTensors(const std::string& a, const std::string& b) {
  const auto first = formats::OpenModel(a);
  const auto second = formats::OpenModel(b);
  EXPECT_EQ(first->metadata(), second->metadata());
  ASSERT_EQ(first->tensors().size(), second->tensors().size());
  for (const TensorInfo& tensor : first->tensors()) {
    const TensorInfo* other = second->FindTensor(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    std::vector<uint8_t> bytes(tensor.bytes), other_bytes(other->bytes);
    first->Read(tensor, 0, bytes);
    second->Read(*other, 0, other_bytes);
    EXPECT_TRUE(bytes == other_bytes) << tensor.name;
  }
}

// A pair that llama.cpp's gguf-split made, with the file it was made of.
TEST_F(SplitMerge, SplitGivesTheBytesOfGgufSplit) {
  QUERN_SHARED_OR_SKIP(whole, "fixtures/gguf/dummy.gguf");
  ASSERT_EQ(Run({"split", whole.string(), Path("dummy"), "--no-tensor-first-split"}), 0);
  for (const std::string name : {"dummy-00001-of-00002.gguf", "dummy-00002-of-00002.gguf"}) {
    EXPECT_TRUE(Contents(Path(name)) == Contents(whole.parent_path() / name)) << name;
  }
}

TEST_F(SplitMerge, MergeKeepsTheKeysWithACountOfZero) {
  QUERN_SHARED_OR_SKIP(shard, "fixtures/gguf/dummy-00002-of-00002.gguf");
  ASSERT_EQ(Run({"merge", shard.string(), Path("merged.gguf")}), 0);
  ExpectSameTensors(Path("merged.gguf"), (shard.parent_path() / "dummy.gguf").string());
  // The reader leaves the split keys out; the file has them: u16 0, i32 10, u16 0.
  const std::string bytes = Contents(Path("merged.gguf"));
  const size_t at = bytes.find("split.count");
  ASSERT_NE(at, bytes.npos);
  EXPECT_EQ(bytes.substr(at + 11, 6), std::string("\2\0\0\0\0\0", 6));
}

TEST_F(SplitMerge, RoundTripGivesTheSameModelAndShards) {
  MakeShards();
  ASSERT_EQ(Run({"merge", Path("part-00003-of-00004.gguf"), Path("merged.gguf")}), 0);
  ExpectSameTensors(Path("merged.gguf"), Path("model.gguf"));
  const auto tensors = formats::OpenModel(Path("merged.gguf"))->tensors().size();
  ASSERT_EQ(Run({"split", Path("merged.gguf"), Path("again"), "--split-max-tensors",
                 std::to_string((tensors + 3) / 4)}),
            0);
  for (const std::string rest : {"-00001-of-00004.gguf", "-00002-of-00004.gguf",
                                 "-00003-of-00004.gguf", "-00004-of-00004.gguf"}) {
    EXPECT_TRUE(Contents(Path("part" + rest)) == Contents(Path("again" + rest))) << rest;
  }
}

TEST_F(SplitMerge, DryRunTellsTheShardsAndWritesNothing) {
  MakeModel("model.gguf");
  const auto outcome = RunQuern(
      {"split", Path("model.gguf"), Path("part"), "--split-max-size", "1M", "--dry-run", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json plan = ParseJson(outcome.out, "plan")["outputs"][0];
  ASSERT_GT(plan["files"].size(), 2u);
  EXPECT_FALSE(fs::exists(plan["files"][0]["path"].get<std::string>()));
  ASSERT_EQ(Run({"split", Path("model.gguf"), Path("part"), "--split-max-size", "1M"}), 0);
  for (const Json& file : plan["files"]) {
    EXPECT_EQ(fs::file_size(file["path"].get<std::string>()), file["bytes"].get<uint64_t>());
  }
}

TEST_F(SplitMerge, MergeRefusesWhatIsNoWholeSet) {
  MakeShards();
  const std::string first = Path("part-00001-of-00004.gguf");
  const std::string third = Path("part-00003-of-00004.gguf");
  EXPECT_EQ(Run({"merge", Path("model.gguf"), Path("out.gguf")}), 2);
  EXPECT_EQ(Run({"merge", first, Path("model.gguf")}), 4) << "an existing output";
  EXPECT_EQ(Run({"merge", first, first, "--force"}), 2) << "a shard as output";

  const std::string joined =
      folder_.Write("joined.gguf", Contents(first) + Contents(third)).string();
  const auto cat = RunQuern({"merge", joined, Path("out.gguf")});
  EXPECT_EQ(cat.code, 3);
  EXPECT_THAT(cat.err, HasSubstr("joined.gguf"));

  const std::string saved = Contents(third);
  fs::copy_file(Path("part-00002-of-00004.gguf"), third, fs::copy_options::overwrite_existing);
  EXPECT_EQ(Run({"merge", first, Path("out.gguf")}), 3) << "a part twice";
  fs::remove(third);
  const auto missing = RunQuern({"merge", first, Path("out.gguf")});
  EXPECT_EQ(missing.code, 3);
  EXPECT_THAT(missing.err, HasSubstr("part 3 of 4"));
  EXPECT_FALSE(fs::exists(Path("out.gguf")));
}

TEST_F(SplitMerge, ConvertWritesShardsWithTheBytesOfTheWholeModel) {
  MakeModel("model.gguf");
  ASSERT_EQ(
      Run({"convert", kModel, "-t", "Q8_0", "-o", Path("set.gguf"), "--split-max-size", "2M"}), 0);
  EXPECT_FALSE(fs::exists(Path("set.gguf")));
  std::string first;
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    const std::string name = entry.path().filename().string();
    EXPECT_FALSE(name.ends_with(".partial") || name.ends_with(".journal")) << name;
    if (name.starts_with("set-00001-of-")) first = entry.path().string();
  }
  ASSERT_FALSE(first.empty());
  ExpectSameTensors(first, Path("model.gguf"));
}

TEST_F(SplitMerge, QuantizeKeepsTheShardsOfItsInput) {
  ASSERT_EQ(Run({"convert", kModel, "-o", Path("in.gguf"), "--split-max-tensors", "9"}), 0);
  std::string first;
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    if (entry.path().filename().string().starts_with("in-00001-of-")) first = entry.path().string();
  }
  ASSERT_EQ(Run({"quantize", first, "-t", "Q4_0", "-o", Path("out.gguf"), "--keep-split"}), 0);
  const auto before = formats::OpenModel(first);
  std::string name = fs::path(first).filename().string();
  name.replace(0, 2, "out");
  const auto after = formats::OpenModel(Path(name));
  ASSERT_EQ(before->files().size(), after->files().size());
  for (const TensorInfo& tensor : before->tensors()) {
    EXPECT_EQ(after->FindTensor(tensor.name)->file, tensor.file) << tensor.name;
  }
}

TEST_F(SplitMerge, SizesArePowersOfThousandAndMustMakeSense) {
  MakeModel("model.gguf");
  for (const std::string bad : {"0", "-1", "x", "2X", "", "M", "1iB"}) {
    EXPECT_EQ(Run({"split", Path("model.gguf"), Path("p"), "--split-max-size", bad}), 2) << bad;
  }
  EXPECT_EQ(Run({"split", Path("model.gguf"), Path("p"), "--split-max-size", "1M",
                 "--split-max-tensors", "3"}),
            2);
}

}  // namespace
}  // namespace quern
