#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/json.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;

TEST(Usage, NoCommandOrUnknownOptionExitsWith2) {
  EXPECT_EQ(RunQuern({}).code, 2);
  EXPECT_EQ(RunQuern({"grind"}).code, 2);
  EXPECT_EQ(RunQuern({"convert", "--no-such-option", "x"}).code, 2);
  EXPECT_EQ(RunQuern({"quantize", "x.gguf"}).code, 2);  // -t or a target is required
}

TEST(Usage, HelpAndVersionExitWith0) {
  EXPECT_THAT(RunQuern({"--help"}).out, HasSubstr("Exit codes"));
  EXPECT_EQ(RunQuern({"--version"}).code, 0);
  for (const char* command :
       {"convert", "quantize", "inspect", "formats", "architectures", "types"}) {
    EXPECT_EQ(RunQuern({command, "--help"}).code, 0) << command;
  }
}

TEST(Usage, UnknownTypeNamesTheListOfTypes) {
  const auto outcome =
      RunQuern({"convert", testing::TestData("kjv-4m").string(), "-t", "Q9_Z", "-o", "/dev/null"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("quern types"));
}

TEST(Usage, ListsAreJsonObjects) {
  for (const char* command : {"formats", "architectures", "types"}) {
    const auto outcome = RunQuern({command, "--json"});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_TRUE(ParseJson(outcome.out, command).is_object());
  }
}

// Exit code of a run whose stdout and stderr are these files.
int CodeInto(const std::vector<std::string>& arguments, const std::string& out,
             const std::string& err) {
  int status = 0;
  ::waitpid(testing::StartQuern(arguments, out, err), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(FullDevice, StdoutThatIsLostExitsWith4) {
  const std::string model = testing::TestData("kjv-4m").string();
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"types"},
                                             {"types", "--json"},
                                             {"--help"},
                                             {"inspect", model},
                                             {"generate", model, "-p", "And", "-n", "2", "-q"}}) {
    const TempFolder folder;
    const std::string err = (folder.path() / "err").string();
    EXPECT_EQ(CodeInto(arguments, "/dev/full", err), 4) << arguments.front();
    EXPECT_NE(testing::Contents(err), "") << arguments.front();
    EXPECT_EQ(CodeInto(arguments, "/dev/full", "/dev/full"), 4) << arguments.front();
  }
}

TEST(FullDevice, StderrThatIsLostEndsNoRun) {
  const TempFolder folder;
  const std::string model = testing::TestData("kjv-4m").string();
  std::string ids;
  for (int i = 0; i < 64; ++i) ids += "7 ";
  const std::string text = folder.Write("ids", ids).string();
  const auto code = [&](const std::vector<std::string>& arguments) {
    return CodeInto(arguments, (folder.path() / "out").string(), "/dev/full");
  };
  EXPECT_EQ(code({"convert", model, "-o", (folder.path() / "m.gguf").string()}), 0);
  EXPECT_EQ(code({"perplexity", model, "--token-ids", text, "-c", "32"}), 0);
  EXPECT_EQ(code({"generate", model, "-p", "And", "-n", "2"}), 0);
  EXPECT_EQ(code({"inspect", (folder.path() / "absent").string()}), 3);
}

TEST(BadInput, SaysWhatAFileIsInsteadAndExitsWith3) {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "empty"},
      {"<!DOCTYPE html><html>", "HTML"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS"},
      {"something else", "no format"},
  };
  for (const auto& [content, expected] : cases) {
    const auto path = folder.Write("model.gguf", content);
    const auto outcome = RunQuern({"inspect", path.string()});
    EXPECT_EQ(outcome.code, 3) << content;
    EXPECT_THAT(outcome.err, HasSubstr(expected));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  EXPECT_EQ(RunQuern({"inspect", (folder.path() / "absent").string()}).code, 3);
}

}  // namespace
}  // namespace quern
