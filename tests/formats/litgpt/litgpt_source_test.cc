#include "formats/litgpt/litgpt_source.h"

#include <gtest/gtest.h>

#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::litgpt {
namespace {

namespace fs = std::filesystem;
using quern::testing::TempFolder;
using quern::testing::TestData;

TEST(LitgptSource, ReadsWeightsAndConfig) {
  const auto source = OpenModel(TestData("layouts/litgpt/small-llama"));
  EXPECT_EQ(source->format(), "litgpt");
  EXPECT_EQ(source->layout(), "litgpt");
  EXPECT_EQ(source->config().at("n_query_groups"), 2);
  EXPECT_EQ(source->config().at("norm_eps"), 1e-5);
  EXPECT_EQ(source->config().at("hf_config").at("name"), "small-llama");
  ASSERT_NE(source->FindTensor("transformer.h.0.attn.qkv.weight"), nullptr);
  EXPECT_EQ(source->FindTensor("transformer.h.0.attn.qkv.weight")->shape, (Shape{32, 16}));
}

TEST(LitgptSource, TakesTheModelOutOfACheckpoint) {
  const auto source = OpenModel(TestData("layouts/litgpt_grouped/small-llama"));
  EXPECT_NE(source->FindTensor("transformer.h.1.attn.attn.weight"), nullptr);
}

// What a config can be instead of one.
ErrorCode CodeOf(std::string_view config, const char* name = "model_config.yaml") {
  const TempFolder folder;
  fs::copy_file(TestData("layouts/litgpt/small-llama/lit_model.pth"),
                folder.path() / "lit_model.pth");
  folder.Write(name, config);
  return quern::testing::ErrorOf([&] { OpenModel(folder.path()); }).code();
}

TEST(LitgptSource, RejectsHostileConfigs) {
  EXPECT_EQ(CodeOf("- a\n"), ErrorCode::kBadType);
  EXPECT_EQ(CodeOf(""), ErrorCode::kBadType);
  EXPECT_EQ(CodeOf("a: [1\n"), ErrorCode::kBadText);
  EXPECT_EQ(CodeOf("a: 1\n---\nb: 2\n"), ErrorCode::kBadText);
  EXPECT_EQ(CodeOf("a: \xff\n"), ErrorCode::kBadText);
  EXPECT_EQ(CodeOf("a: &x [1]\nb: *x\n"), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf("a: " + std::string(100, '[') + std::string(100, ']')),
            ErrorCode::kLimitExceeded);
  EXPECT_EQ(CodeOf("a: " + std::string(3 << 20, 'x')), ErrorCode::kLimitExceeded);
}

TEST(LitgptSource, ReadsTheConfigOfOldFolders) {
  const TempFolder folder;
  fs::copy_file(TestData("layouts/litgpt/small-llama/lit_model.pth"),
                folder.path() / "lit_model.pth");
  folder.Write("lit_config.json", R"({"n_layer": 2, "norm_eps": 1.0e-05})");
  EXPECT_EQ(OpenModel(folder.path())->config().at("n_layer"), 2);
}

}  // namespace
}  // namespace quern::formats::litgpt
