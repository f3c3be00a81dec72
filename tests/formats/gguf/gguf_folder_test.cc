#include "formats/gguf/gguf_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::gguf {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::SmallGguf;
using testing::TempFolder;

TEST(GgufFolder, OpensTheOneModel) {
  const TempFolder folder;
  folder.Write("Model-Q8_0.gguf", SmallGguf());
  folder.Write("mmproj-Model-f16.gguf", "not the model");
  folder.Write("Model-imatrix.gguf", "nor this");
  folder.Write("README.md", "# Model");
  folder.Write("config.json", "{}");
  folder.Write("model.yml", "name: model");
  EXPECT_EQ(OpenModel(folder.path())->format(), "gguf");
}

TEST(GgufFolder, OpensASplitSet) {
  QUERN_SHARED_OR_SKIP(first, "fixtures/gguf/dummy-00001-of-00002.gguf");
  const TempFolder folder;
  for (const char* name : {"dummy-00001-of-00002.gguf", "dummy-00002-of-00002.gguf"}) {
    fs::copy_file(first.parent_path() / name, folder.path() / name);
  }
  EXPECT_THAT(OpenModel(folder.path())->files(), SizeIs(2));
  fs::remove(folder.path() / "dummy-00001-of-00002.gguf");
  EXPECT_QUERN_ERROR(OpenModel(folder.path()), ErrorCode::kMissing);
}

TEST(GgufFolder, RefusesSeveralAndListsThem) {
  const TempFolder folder;
  folder.Write("a.gguf", SmallGguf());
  folder.Write("b.GGUF", SmallGguf());
  const Error error = testing::ErrorOf([&] { OpenModel(folder.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_THAT(error.what(), HasSubstr("a.gguf, b.GGUF"));
}

TEST(GgufFolder, OtherWeightsMakeItAnotherFolder) {
  const TempFolder folder;
  folder.Write("model.gguf", SmallGguf());
  folder.Write("model.safetensors", std::string_view("\2\0\0\0\0\0\0\0{}", 10));
  EXPECT_EQ(OpenModel(folder.path())->format(), "huggingface");
}

}  // namespace
}  // namespace quern::formats::gguf
