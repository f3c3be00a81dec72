#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <random>
#include <thread>

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

TEST(Convert, WritesAFileOfExactlyThePlannedSize) {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.gguf").string();
  const auto dry = RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", out, "--dry-run", "--json"});
  ASSERT_EQ(dry.code, 0) << dry.err;
  EXPECT_FALSE(fs::exists(out));
  const Json plan = ParseJson(dry.out, "plan");
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", out}).code, 0);
  EXPECT_EQ(fs::file_size(out), plan["outputs"][0]["file_bytes"].get<uint64_t>());
  EXPECT_EQ(formats::OpenModel(out)->tensors().size(), plan["outputs"][0]["tensors"].size());
}

TEST(Convert, NamesTheFileAfterTheModelInTheCurrentFolder) {
  const TempFolder folder;
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0"}, folder.path()).code, 0);
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    ++files;
    EXPECT_THAT(entry.path().filename().string(), HasSubstr("Q8_0.gguf"));
  }
  EXPECT_EQ(files, 1u);
}

TEST(Convert, OneStepEqualsConvertThenQuantize) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-o", path("auto.gguf")}).code, 0);
  for (const std::string type : {"Q4_K_M", "Q4_K_S", "Q6_K", "Q8_0", "Q4_0"}) {
    ASSERT_EQ(
        RunQuern({"quantize", path("auto.gguf"), "-t", type, "-o", path("two.gguf"), "--force"})
            .code,
        0);
    ASSERT_EQ(RunQuern({"convert", kModel, "-t", type, "-o", path("one.gguf"), "--force"}).code, 0);
    EXPECT_TRUE(Contents(path("one.gguf")) == Contents(path("two.gguf"))) << type;
  }
}

TEST(Convert, BytesDoNotDependOnThreadsOrSlabs) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(
      RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", path("1.gguf"), "--threads", "1"}).code,
      0);
  for (const std::string threads : {"2", "3", "8"}) {
    ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", path("n.gguf"), "--threads",
                        threads, "--memory", "1M", "--force"})
                  .code,
              0);
    EXPECT_TRUE(Contents(path("1.gguf")) == Contents(path("n.gguf"))) << threads;
  }
}

TEST(Convert, SeveralTypesFromOneReadEqualSeparateRuns) {
  const TempFolder folder;
  const auto path = [&](const std::string& name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q4_K_M", "-t", "Q8_0", "-t", "BF16", "-o",
                      path("all-{type}.gguf")})
                .code,
            0);
  for (const std::string type : {"Q4_K_M", "Q8_0", "BF16"}) {
    ASSERT_EQ(RunQuern({"convert", kModel, "-t", type, "-o", path("one.gguf"), "--force"}).code, 0);
    EXPECT_TRUE(Contents(path("one.gguf")) == Contents(path("all-" + type + ".gguf"))) << type;
  }
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", "Q4_K_M", "-t", "Q8_0", "-o", path("x.gguf")}).code,
            2);
}

TEST(Convert, RefusesToReplaceWithoutForceAndToWriteItsOwnSource) {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "-o", out}).code, 0);
  const auto again = RunQuern({"convert", kModel, "-o", out});
  EXPECT_EQ(again.code, 4);
  EXPECT_THAT(again.err, HasSubstr("--force"));
  EXPECT_EQ(RunQuern({"quantize", out, "-t", "Q8_0", "-o", out, "--force"}).code, 2);
}

TEST(Convert, UnknownArchitectureNamesTheNearestAndTheWayOut) {
  const TempFolder folder;
  for (const auto& entry : fs::directory_iterator(kModel)) {
    fs::copy(entry.path(), folder.path() / entry.path().filename());
  }
  Json config = ReadJsonFile(folder.path() / "config.json");
  config["architectures"] = {"LlamoForCausalLM"};
  folder.Write("config.json", config.dump());
  const auto outcome =
      RunQuern({"convert", folder.path().string(), "-o", (folder.path() / "x.gguf").string()});
  EXPECT_EQ(outcome.code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("LlamaForCausalLM"));
  EXPECT_THAT(outcome.err, HasSubstr("--architecture"));
  EXPECT_FALSE(fs::exists(folder.path() / "x.gguf"));
  EXPECT_FALSE(fs::exists(folder.path() / "x.gguf.partial"));
}

// Bytes that a finished process has read, from whatever cache; 0 where the system does not tell.
uint64_t BytesRead(const std::vector<std::string>& arguments, const TempFolder& temp) {
  const pid_t pid = testing::StartQuern(arguments, temp.path() / "o", temp.path() / "e");
  siginfo_t info = {};
  ::waitid(P_PID, static_cast<id_t>(pid), &info,
           WEXITED | WNOWAIT);  // its counters are still there
  std::ifstream io("/proc/" + std::to_string(pid) + "/io");
  std::string key;
  uint64_t bytes = 0;
  if (!(io >> key >> bytes) || key != "rchar:") bytes = 0;
  int status = -1;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << Contents(temp.path() / "e");
  return bytes;
}

TEST(Convert, SeveralOutputsReadTheSourceOnce) {
  const TempFolder folder, temp;
  const std::string out = (folder.path() / "{type}.gguf").string();
  const uint64_t one = BytesRead({"convert", kModel, "-t", "Q8_0", "-o", out, "--force"}, temp);
  if (one == 0) GTEST_SKIP() << "/proc/PID/io cannot be read";
  const uint64_t three = BytesRead(
      {"convert", kModel, "-t", "Q8_0", "-t", "F16", "-t", "Q4_0", "-o", out, "--force"}, temp);
  uint64_t source = 0;
  const auto model = formats::OpenModel(kModel);
  for (const File& file : model->files()) source += file.size();
  EXPECT_GE(one, source);
  EXPECT_LT(three, one + source / 10);
}

// kill -9 at random moments: under the final name there is nothing or the complete file.
TEST(ConvertSlow, KilledRunsNeverLeaveAnIncompleteFileUnderTheFinalName) {
  const TempFolder folder;
  const fs::path out = folder.path() / "out.gguf";
  const auto run = [&] {
    return testing::StartQuern({"convert", kModel, "-t", "Q4_K_M", "-o", out.string(), "--force"},
                               folder.path() / "o", folder.path() / "e");
  };
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", out.string()}).code, 0);
  const auto whole = std::chrono::steady_clock::now() - begin;
  const std::string complete = Contents(out);
  std::mt19937 random(7);
  int killed = 0;
  for (int i = 0; i < 20; ++i) {
    fs::remove(out);
    const pid_t pid = run();
    std::this_thread::sleep_for(whole * (random() % 1000) / 1000);
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    killed += WIFSIGNALED(status);
    if (fs::exists(out)) {
      EXPECT_TRUE(Contents(out) == complete) << "run " << i;
    }
  }
  EXPECT_GT(killed, 5);
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", out.string(), "--force"}).code, 0);
  EXPECT_TRUE(Contents(out) == complete);
}

}  // namespace
}  // namespace quern
