// --target-size, --target-bpw and --report, as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/cli/run_quern.h"
#include "tests/support/families.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();

TEST(SizeTarget, FileIsExactlyAsPlannedAndWithinOnePercentOfTheTarget) {
  const TempFolder folder;
  const std::string out = (folder.path() / "out.gguf").string();
  for (const uint64_t target : {1'500'000, 2'000'000, 2'500'000, 4'000'000}) {
    const std::vector<std::string> command = {
        "convert", kModel, "--target-size", std::to_string(target), "-o", out, "--force"};
    auto dry = command;
    dry.insert(dry.end(), {"--dry-run", "--json"});
    const Json plan = ParseJson(RunQuern(dry).out, "plan");
    ASSERT_EQ(RunQuern(command).code, 0);
    EXPECT_EQ(fs::file_size(out), plan["outputs"][0]["file_bytes"].get<uint64_t>());
    EXPECT_LE(fs::file_size(out), target);
    EXPECT_GT(fs::file_size(out), target * 99 / 100);
  }
}

// Tiny models have few tensors; sizes between two combinations are told in a note.
TEST(SizeTargetSlow, FamiliesStayWithinTheTargetAndSayWhereTheyAreFarBelow) {
  for (const std::string& name : testing::FamilyNames()) {
    const auto model = testing::FamilyFolder(name);
    if (!model) GTEST_SKIP() << "no shared/conformance, or no Python with numpy";
    for (const double bits : {4.5, 6.0, 8.5}) {
      const auto outcome =
          RunQuern({"convert", model->string(), "--target-bpw", std::to_string(bits), "--dry-run",
                    "--json", "-o", "/tmp/never-written.gguf"});
      if (outcome.code == 2) {  // much of a tiny model is never quantized
        EXPECT_THAT(outcome.err, HasSubstr("smallest reachable size"));
        continue;
      }
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      const Json plan = ParseJson(outcome.out, "plan");
      uint64_t bytes = 0, weights = 0;
      for (const Json& tensor : plan["outputs"][0]["tensors"]) {
        bytes += tensor["bytes"].get<uint64_t>();
        uint64_t count = 1;
        for (const Json& size : tensor["shape"]) count *= size.get<uint64_t>();
        weights += count;
      }
      const double actual = 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
      EXPECT_LE(actual, bits) << name;
      if (actual > 0.99 * bits) continue;
      EXPECT_THAT(outcome.err, ::testing::AnyOf(HasSubstr("no better combination"),
                                                HasSubstr("would be no better")))
          << name;
    }
  }
}

TEST(SizeTarget, SameBytesWhateverTheThreads) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  for (const char* threads : {"1", "3"}) {
    ASSERT_EQ(RunQuern({"convert", kModel, "--target-bpw", "4.2", "-o", path(threads), "--imatrix",
                        kModel + "/imatrix.gguf", "--threads", threads})
                  .code,
              0);
  }
  EXPECT_TRUE(Contents(path("1")) == Contents(path("3")));
}

TEST(SizeTarget, QuantizeAndConvertChooseTheSame) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-o", path("auto.gguf")}).code, 0);
  ASSERT_EQ(
      RunQuern({"quantize", path("auto.gguf"), "--target-size", "2.2M", "-o", path("two")}).code,
      0);
  ASSERT_EQ(RunQuern({"convert", kModel, "--target-size", "2.2M", "-o", path("one")}).code, 0);
  EXPECT_TRUE(Contents(path("one")) == Contents(path("two")));
}

TEST(SizeTarget, ContradictionsAndImpossibleTargetsAreUsageErrors) {
  const auto run = [](std::vector<std::string> options) {
    std::vector<std::string> command = {"convert", kModel, "-o", "/tmp/never-written.gguf"};
    command.insert(command.end(), options.begin(), options.end());
    return RunQuern(command);
  };
  EXPECT_EQ(run({"--target-bpw", "4", "-t", "Q8_0"}).code, 2);
  EXPECT_EQ(run({"--target-bpw", "4", "--target-size", "2M"}).code, 2);
  EXPECT_EQ(run({"--target-bpw", "4", "--pure"}).code, 2);
  EXPECT_EQ(run({"--target-bpw", "-1"}).code, 2);
  EXPECT_EQ(run({"--target-size", "much"}).code, 2);
  const auto small = run({"--target-size", "100K"});
  EXPECT_EQ(small.code, 2);
  EXPECT_THAT(small.err, HasSubstr("smallest reachable size"));
}

TEST(Report, IsOneObjectForAllOutputsAndTheSameWhateverThreadsAndSlabs) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  const auto run = [&](const char* report, const char* threads, const char* memory) {
    return RunQuern({"convert", kModel, "-t", "Q4_K_M", "-t", "Q8_0", "-o", path("{type}.gguf"),
                     "--report", path(report), "--threads", threads, "--memory", memory, "--force"})
        .code;
  };
  ASSERT_EQ(run("1.json", "1", "64M"), 0);
  ASSERT_EQ(run("3.json", "3", "1M"), 0);
  EXPECT_EQ(Contents(path("1.json")), Contents(path("3.json")));
  const Json report = ReadJsonFile(path("1.json"));
  ASSERT_EQ(report["outputs"].size(), 2u);
  const Json &four = report["outputs"][0], &eight = report["outputs"][1];
  EXPECT_EQ(four["type"], "Q4_K_M");
  EXPECT_EQ(eight["output"], path("Q8_0.gguf"));
  EXPECT_GT(four["totals"]["relative_rmse"].get<double>(), 0.04);
  EXPECT_LT(eight["totals"]["relative_rmse"].get<double>(), 0.01);
  EXPECT_GT(eight["totals"]["cosine"].get<double>(), 0.9999);
}

TEST(Report, FollowsTheRulesOfOutputs) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  folder.Write("there.json", "{}");
  const auto there = RunQuern(
      {"convert", kModel, "-t", "Q8_0", "-o", path("a.gguf"), "--report", path("there.json")});
  EXPECT_EQ(there.code, 4);
  EXPECT_FALSE(fs::exists(path("a.gguf")));  // found out before anything was written
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", path("a.gguf"), "--report",
                      path("a.gguf"), "--force"})
                .code,
            2);
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", path("a.gguf"), "--report",
                      path("new.json"), "--dry-run"})
                .code,
            0);
  EXPECT_FALSE(fs::exists(path("new.json")));
}

TEST(Requantize, SaysHowManyTensorsLosePrecisionTwiceAndWhatItAdded) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", path("8.gguf")}).code, 0);
  EXPECT_EQ(RunQuern({"quantize", path("8.gguf"), "-t", "Q4_0", "-o", path("4.gguf")}).code, 2);
  const auto outcome = RunQuern(
      {"quantize", path("8.gguf"), "-t", "Q4_0", "--allow-requantize", "-o", path("4.gguf")});
  ASSERT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("lose precision a second time"));
  EXPECT_THAT(outcome.err, HasSubstr("quantizing again added"));
}

}  // namespace
}  // namespace quern
