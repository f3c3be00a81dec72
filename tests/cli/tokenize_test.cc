#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "formats/core/json.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();

TEST(Tokenize, PrintsIdsAndPiecesOfAFolderAndOfItsGguf) {
  const auto folder_run = RunQuern({"tokenize", kModel, "-p", "In the\nbeginning"});
  ASSERT_EQ(folder_run.code, 0) << folder_run.err;
  EXPECT_THAT(folder_run.out, HasSubstr("|<s>|"));
  EXPECT_THAT(folder_run.out, HasSubstr("|\\n|"));
  const TempFolder folder;
  const std::string gguf = (folder.path() / "vocab.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "--vocab-only", "-o", gguf}).code, 0);
  EXPECT_EQ(RunQuern({"tokenize", gguf, "-p", "In the\nbeginning"}).out, folder_run.out);
}

TEST(Tokenize, ReadsAFileAndWritesJson) {
  const TempFolder folder;
  const std::string file = (folder.path() / "text").string();
  std::ofstream(file) << "<s>God";
  const auto ids = [&](const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"tokenize", kModel, "-f", file, "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const auto run = RunQuern(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    return ParseJson(run.out, "tokens");
  };
  const Json plain = ids({});
  EXPECT_EQ(plain["ids"].size(), plain["tokens"].get<size_t>());
  EXPECT_EQ(plain["pieces"].size(), plain["tokens"].get<size_t>());
  EXPECT_EQ(plain["ids"][0], 1);
  EXPECT_NE(ids({"--no-special"})["ids"][0], 1);
  EXPECT_EQ(ids({"--no-special", "--parse-special"})["ids"][0], 1);
}

TEST(Tokenize, RefusesTwoTextsAndModelsWithoutATokenizer) {
  EXPECT_EQ(RunQuern({"tokenize", kModel, "-p", "a", "-f", "b"}).code, 2);
  EXPECT_EQ(RunQuern({"tokenize", kModel, "-f", "/no/such/file"}).code, 3);
  const auto none = RunQuern({"tokenize", "/no/such/model", "-p", "a"});
  EXPECT_NE(none.code, 0);
}

}  // namespace
}  // namespace quern
