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

class SlowExportSafetensors : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  testing::Outcome Run(const std::vector<std::string>& arguments) const {
    return RunQuern(arguments);
  }
  void MakeModel(const std::string& name, const std::string& type) const {
    const auto outcome =
        Run({"convert", TestData("kjv-4m").string(), "-t", type, "-o", Path(name)});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
  testing::Outcome Export(const std::string& model, const std::string& to,
                          std::vector<std::string> options = {}) const {
    std::vector<std::string> all = {"export", Path(model), "-o",
                                    Path(to), "--format",  "safetensors"};
    all.insert(all.end(), options.begin(), options.end());
    return Run(all);
  }
  const TempFolder folder_;
};

TEST_F(SlowExportSafetensors, ConvertingBackGivesTheSameFile) {
  for (const std::string type : {"F16", "BF16", "F32"}) {
    MakeModel(type + ".gguf", type);
    const auto outcome = Export(type + ".gguf", type, {"--shard-size", "2M"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr("note: config.json")));
    EXPECT_TRUE(fs::exists(Path(type + "/model.safetensors.index.json")));
    ASSERT_EQ(Run({"convert", Path(type), "-t", type, "-o", Path("back.gguf"), "--force"}).code, 0);
    const auto first = formats::OpenModel(Path(type + ".gguf"));
    const auto second = formats::OpenModel(Path("back.gguf"));
    for (const auto& [key, value] : first->metadata().entries()) {
      const Value* other = second->metadata().Find(key);
      ASSERT_NE(other, nullptr) << key;
      EXPECT_TRUE(*other == value) << key;
    }
    ASSERT_EQ(first->tensors().size(), second->tensors().size());
    for (const TensorInfo& tensor : first->tensors()) {
      const TensorInfo* other = second->FindTensor(tensor.name);
      ASSERT_NE(other, nullptr) << tensor.name;
      ASSERT_EQ(other->type, tensor.type) << tensor.name;
      std::vector<uint8_t> bytes(tensor.bytes), again(other->bytes);
      first->Read(tensor, 0, bytes);
      second->Read(*other, 0, again);
      EXPECT_TRUE(bytes == again) << tensor.name;
    }
  }
}

TEST_F(SlowExportSafetensors, DecodesQuantizedModels) {
  MakeModel("model.gguf", "Q4_K_M");
  const auto outcome = Export("model.gguf", "out", {"--dtype", "bf16", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("are decoded from quantized ones"));
  const Json json = ParseJson(outcome.out, "stdout");
  EXPECT_EQ(json["type"], "bfloat16");
  EXPECT_EQ(json["files"][0]["path"], Path("out/config.json"));
  for (const TensorInfo& tensor : formats::OpenModel(Path("out"))->tensors()) {
    EXPECT_EQ(tensor.type, TensorType::kBF16) << tensor.name;
  }
  EXPECT_EQ(Run({"convert", Path("out"), "-o", Path("back.gguf")}).code, 0);
}

TEST_F(SlowExportSafetensors, BytesDoNotDependOnThreadsOrMemory) {
  MakeModel("model.gguf", "Q8_0");
  ASSERT_EQ(Export("model.gguf", "one", {"--threads", "1"}).code, 0);
  ASSERT_EQ(Export("model.gguf", "many", {"--threads", "3", "--memory", "1M"}).code, 0);
  for (const auto& entry : fs::directory_iterator(Path("one"))) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(Contents(entry.path()) == Contents(Path("many/" + name))) << name;
  }
}

TEST_F(SlowExportSafetensors, NeverMixesTwoModels) {
  MakeModel("model.gguf", "F16");
  ASSERT_EQ(Export("model.gguf", "out", {"--shard-size", "2M"}).code, 0);
  EXPECT_EQ(Export("model.gguf", "out", {"--shard-size", "2M"}).code, 4);
  EXPECT_EQ(Export("model.gguf", "out", {"--shard-size", "2M", "--force"}).code, 0);
  const auto other = Export("model.gguf", "out", {"--force"});  // one file, and the old shards
  EXPECT_EQ(other.code, 4);
  EXPECT_THAT(other.err, HasSubstr("choose an empty folder"));
  EXPECT_FALSE(fs::exists(Path("out/model.safetensors")));
}

TEST_F(SlowExportSafetensors, DryRunPrintsThePlanAndWritesNothing) {
  MakeModel("model.gguf", "F16");
  const auto outcome = Export("model.gguf", "out", {"--dry-run", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_FALSE(fs::exists(Path("out")));
  const Json plan = ParseJson(outcome.out, "stdout");
  ASSERT_EQ(Export("model.gguf", "out").code, 0);
  for (const Json& file : plan["files"]) {
    EXPECT_EQ(fs::file_size(file["path"].get<std::string>()), file["bytes"]) << file;
  }
  EXPECT_THAT(Export("model.gguf", "more", {"--dry-run"}).out,
              HasSubstr("unpermute_rope(blk.0.attn_q.weight"));
}

TEST_F(SlowExportSafetensors, LeavesNothingBehindWhereItFails) {
  EXPECT_EQ(
      Run({"export", TestData("kjv-4m").string(), "-o", Path("out"), "--format", "safetensors"})
          .code,
      2);  // no GGUF
  MakeModel("model.gguf", "F16");
  ASSERT_TRUE(fs::create_directory(Path("out")));
  std::ofstream(Path("out/tokenizer.model")) << "another's";
  EXPECT_EQ(Export("model.gguf", "out").code, 4);
  EXPECT_EQ(std::distance(fs::directory_iterator(Path("out")), fs::directory_iterator()), 1);
  EXPECT_EQ(Contents(Path("out/tokenizer.model")), "another's");
  EXPECT_EQ(Export("model.gguf", "no/such/folder").code, 4);
  EXPECT_EQ(Export("model.gguf", "new", {"--dtype", "q4_0"}).code, 2);
}

}  // namespace
}  // namespace quern
