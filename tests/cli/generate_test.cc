#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/json.h"
#include "formats/core/utf8.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

using ::testing::HasSubstr;
using testing::RunQuern;
using ::testing::StartsWith;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();

Json Generate(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"generate", kModel, "--json", "-q"});
  const auto run = RunQuern(arguments);
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  return ParseJson(run.out, "generate");
}

TEST(GenerateCommand, PrintsThePromptAndWhatFollows) {
  const auto run = RunQuern({"generate", kModel, "-p", "In the beginning God", "-n", "16"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, StartsWith("In the beginning God"));
  EXPECT_TRUE(run.out.ends_with('\n'));
  EXPECT_TRUE(IsValidUtf8(run.out));
  EXPECT_THAT(run.err, HasSubstr("16 tokens"));
  const Json json = Generate({"-p", "In the beginning God", "-n", "16"});
  EXPECT_EQ("In the beginning God" + json.at("text").get<std::string>() + "\n", run.out);
  EXPECT_EQ(json.at("prompt_tokens").at(0), 1);
  EXPECT_EQ(json.at("tokens").size(), 16u);
  EXPECT_EQ(json.at("stopped"), "length");
  EXPECT_EQ(json.at("context"), 256);
  EXPECT_GE(json.at("seconds"), json.at("prompt_seconds"));
}

TEST(GenerateCommand, GoesOnWithAFileAsWithItsText) {
  const TempFolder folder;
  const std::string file = folder.Write("prompt", "And it came to pass\n").string();
  const Json json = Generate({"-f", file, "-n", "4"});
  EXPECT_EQ(json.at("tokens"), Generate({"-p", "And it came to pass", "-n", "4"}).at("tokens"));
}

TEST(GenerateCommand, DrawsTheSameTextForTheSameSeed) {
  const auto draw = [](const char* seed, const char* threads) {
    return Generate({"-p", "And God said", "-n", "12", "--temp", "1", "--seed", seed, "--threads",
                     threads})
        .at("tokens");
  };
  EXPECT_EQ(draw("3", "1"), draw("3", "2"));
  EXPECT_NE(draw("3", "1"), draw("4", "1"));
}

TEST(GenerateCommand, StopsAtTheModelsContext) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 120; ++i) text += " and the";
  const auto run = RunQuern({"generate", kModel, "-f", folder.Write("long", text).string()});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.err, HasSubstr("context of 256"));
  for (int i = 0; i < 120; ++i) text += " and the";
  const auto longer = RunQuern({"generate", kModel, "-f", folder.Write("longer", text).string()});
  EXPECT_EQ(longer.code, 2);
  EXPECT_THAT(longer.err, HasSubstr("no room in the model's context"));
  EXPECT_EQ(longer.out, "");
}

TEST(GenerateCommand, RefusesWhatMakesNoSense) {
  const auto code = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"generate", kModel});
    return RunQuern(arguments).code;
  };
  EXPECT_EQ(code({}), 2);
  EXPECT_EQ(code({"-p", "a", "-f", "b"}), 2);
  EXPECT_EQ(code({"-p", "a", "-n", "0"}), 2);
  EXPECT_EQ(code({"-p", "a", "--temp", "-1"}), 2);
  EXPECT_EQ(code({"-p", "a", "--seed", "1"}), 2);
  EXPECT_EQ(code({"-p", "a", "--memory", "1M"}), 2);
  const TempFolder folder;
  EXPECT_EQ(code({"-f", folder.Write("bad", "good \xff bad").string()}), 3);
  EXPECT_EQ(code({"-f", (folder.path() / "none").string()}), 3);
}

TEST(DriftCommand, ShowsEachLayer) {
  const TempFolder folder;
  const std::string q2 = (folder.path() / "q2.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q2_K", "-o", q2}).code, 0);
  std::vector<std::string> arguments = {
      "drift",    kModel, q2,   "-f",        TestData("kjv-4m/heldout.txt").string(), "-c", "32",
      "--chunks", "2",    "-q", "--by-layer"};
  const auto text = RunQuern(arguments);
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("relative error"));
  arguments.push_back("--json");
  const Json json = ParseJson(RunQuern(arguments).out, "drift");
  const Json& candidate = json.at("candidates").at(0);
  ASSERT_EQ(candidate.at("layers").size(), 4u);
  EXPECT_EQ(candidate["layers"][3].at("layer"), 3);
  for (const Json& layer : candidate["layers"]) {
    EXPECT_GT(layer.at("relative_error"), 0.01);
    EXPECT_GT(layer.at("cosine"), 0.8);
    EXPECT_LT(layer.at("cosine"), 1);
  }
  EXPECT_GT(candidate.at("embedding").at("relative_error"), 0.01);
}

}  // namespace
}  // namespace quern
