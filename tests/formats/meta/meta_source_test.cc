#include "formats/meta/meta_source.h"

#include <gtest/gtest.h>

#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::meta {
namespace {

namespace fs = std::filesystem;
using quern::testing::TempFolder;
using quern::testing::TestData;

// A copy of testdata/layouts/meta_2_parts whose files a test may damage.
class MetaFolder : public ::testing::Test {
 protected:
  MetaFolder() {
    for (const auto& entry : fs::directory_iterator(TestData("layouts/meta_2_parts/small-llama"))) {
      fs::copy_file(entry.path(), folder() / entry.path().filename());
    }
  }
  fs::path folder() const { return temp_.path(); }
  void Write(const char* name, std::string_view text) { temp_.Write(name, text); }

 private:
  TempFolder temp_;
};

TEST_F(MetaFolder, ListsPartsUnderTheirNumbers) {
  const auto source = OpenModel(folder());
  EXPECT_EQ(source->format(), "meta");
  EXPECT_EQ(source->layout(), "meta");
  EXPECT_EQ(source->files().size(), 2u);
  EXPECT_EQ(source->config().at("dim"), 16);
  const TensorInfo* tensor = source->FindTensor("consolidated.1/layers.0.attention.wo.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->shape, (Shape{16, 8}));
  EXPECT_TRUE(source->side_files().contains("tokenizer.model"));
}

TEST(MetaSource, KeepsTheNamesOfASinglePart) {
  const auto source = OpenModel(TestData("layouts/meta/small-llama"));
  EXPECT_NE(source->FindTensor("layers.1.feed_forward.w2.weight"), nullptr);
}

TEST_F(MetaFolder, RejectsAMissingPart) {
  fs::rename(folder() / "consolidated.00.pth", folder() / "consolidated.02.pth");
  EXPECT_QUERN_ERROR(OpenModel(folder()), ErrorCode::kMissing);
}

TEST_F(MetaFolder, RejectsAPartTwice) {
  fs::copy_file(folder() / "consolidated.00.pth", folder() / "consolidated.0.pth");
  EXPECT_QUERN_ERROR(OpenModel(folder()), ErrorCode::kDuplicate);
}

TEST_F(MetaFolder, RejectsANumberBeyondAnyModel) {
  fs::copy_file(folder() / "consolidated.00.pth", folder() / "consolidated.99999.pth");
  EXPECT_QUERN_ERROR(OpenModel(folder()), ErrorCode::kLimitExceeded);
}

TEST_F(MetaFolder, RejectsParamsThatAreNoObject) {
  Write("params.json", "[1]");
  EXPECT_QUERN_ERROR(OpenModel(folder()), ErrorCode::kBadType);
}

TEST_F(MetaFolder, RejectsADuplicateParameter) {
  Write("params.json", R"({"dim": 16, "dim": 32})");
  EXPECT_QUERN_ERROR(OpenModel(folder()), ErrorCode::kDuplicate);
}

TEST_F(MetaFolder, RejectsAPartThatIsAPointer) {
  Write("consolidated.01.pth", "version https://git-lfs.github.com/spec/v1\noid sha256:" +
                                   std::string(64, '0') + "\nsize 5\n");
  EXPECT_QUERN_ERROR(OpenModel(folder()), ErrorCode::kBadMagic);
}

TEST_F(MetaFolder, LeavesFoldersWithHuggingFaceWeightsToTheirReader) {
  fs::copy_file(TestData("layouts/hf_safetensors/small-llama/model.safetensors"),
                folder() / "model.safetensors");
  EXPECT_EQ(OpenModel(folder())->format(), "huggingface");
}

}  // namespace
}  // namespace quern::formats::meta
