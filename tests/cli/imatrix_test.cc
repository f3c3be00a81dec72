#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/json.h"
#include "formats/imatrix/imatrix_writer.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

using formats::imatrix::Imatrix;
using formats::imatrix::ReadImatrix;
using ::testing::AllOf;
using testing::Bytes;
using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();
const std::string kText = TestData("kjv-4m/heldout.txt").string();

// `quern imatrix` into `folder`/NAME; returns what it wrote.
Imatrix Make(const TempFolder& folder, const std::string& name,
             std::vector<std::string> arguments) {
  const std::string path = (folder.path() / name).string();
  arguments.insert(arguments.begin(), "imatrix");
  arguments.insert(arguments.end(), {"-o", path, "-q", "--threads", "1"});
  const auto run = RunQuern(arguments);
  EXPECT_EQ(run.code, 0) << run.err;
  return ReadImatrix(path);
}

std::vector<std::string> Chunks(const std::string& skip, const std::string& count) {
  return {kModel, "-f", kText, "-c", "256", "--chunk", skip, "--chunks", count};
}

// Names and counts the same, means within `tolerance`.
void ExpectNear(const Imatrix& ours, const Imatrix& theirs, float tolerance) {
  ASSERT_EQ(ours.entries.size(), theirs.entries.size());
  EXPECT_EQ(ours.chunk_count, theirs.chunk_count);
  EXPECT_EQ(ours.chunk_size, theirs.chunk_size);
  EXPECT_EQ(ours.counts_chunks, theirs.counts_chunks);
  for (const auto& [name, entry] : theirs.entries) {
    ASSERT_TRUE(ours.entries.contains(name)) << name;
    const auto& own = ours.entries.at(name);
    EXPECT_EQ(own.counts, entry.counts) << name;
    ASSERT_EQ(own.values.size(), entry.values.size()) << name;
    for (size_t i = 0; i < own.values.size(); ++i) {
      ASSERT_NEAR(own.values[i] / entry.values[i], 1, tolerance) << name << " " << i;
    }
  }
}

TEST(SlowImatrixCommand, EqualsLlamaImatrixInBothFormsFromFolderAndFile) {
  const TempFolder folder;
  const std::string file = (folder.path() / "model.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "F32", "-o", file}).code, 0);
  for (const std::string& model : {kModel, file}) {
    for (const char* name : {"imatrix.gguf", "imatrix.dat"}) {
      const Imatrix ours =
          Make(folder, name, {model, "-f", kText, "--ctx", "256", "--chunks", "40", "--force"});
      ExpectNear(ours, ReadImatrix(TestData(std::string("kjv-4m/") + name)), 1e-3f);
      EXPECT_EQ(ours.datasets, std::vector<std::string>{kText});
    }
  }
}

TEST(SlowImatrixCommand, MakesABetterQ2K) {
  const TempFolder folder;
  const std::string imatrix = (folder.path() / "imatrix.gguf").string();
  const std::string with = (folder.path() / "with.gguf").string();
  const std::string without = (folder.path() / "without.gguf").string();
  Make(folder, "imatrix.gguf", Chunks("0", "40"));
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q2_K", "--imatrix", imatrix, "-o", with}).code, 0);
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q2_K", "-o", without}).code, 0);
  const auto run = RunQuern(
      {"drift", kModel, with, without, "-f", kText, "-c", "256", "--chunks", "60", "--json", "-q"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json candidates = ParseJson(run.out, "drift").at("candidates");
  EXPECT_LT(candidates[0].at("kld").at("mean").get<double>(),
            candidates[1].at("kld").at("mean").get<double>());
}

TEST(ImatrixCommand, MergesHalvesToTheWhole) {
  const TempFolder folder;
  const Imatrix whole = Make(folder, "whole.gguf", Chunks("0", "6"));
  Make(folder, "a.gguf", Chunks("0", "2"));
  const std::string a = (folder.path() / "a.gguf").string();
  const std::string b = (folder.path() / "b.gguf").string();
  // Added while the rest is collected, and files to files without a model.
  std::vector<std::string> rest = Chunks("2", "4");
  Make(folder, "b.gguf", rest);
  rest.insert(rest.end(), {"--in-file", a});
  ExpectNear(Make(folder, "sum.gguf", rest), whole, 1e-4f);
  const Imatrix merged = Make(folder, "merged.gguf", {"--in-file", a, "--in-file", b});
  ExpectNear(merged, whole, 1e-4f);
  EXPECT_EQ(merged.datasets, (std::vector<std::string>{kText, kText}));
  ExpectNear(Make(folder, "other.gguf", {"--in-file", a, kModel, "--in-file", b}), whole, 1e-4f);
}

TEST(ImatrixCommand, TurnsOneFormIntoTheOther) {
  const TempFolder folder;
  const std::string gguf = TestData("kjv-4m/imatrix.gguf").string();
  const std::string dat = TestData("kjv-4m/imatrix.dat").string();
  ExpectNear(Make(folder, "a.dat", {"--in-file", gguf}), ReadImatrix(dat), 1e-6f);
  ExpectNear(Make(folder, "b", {"--in-file", gguf, "--output-format", "dat"}), ReadImatrix(dat),
             1e-6f);
  ExpectNear(Make(folder, "c.gguf", {"--in-file", dat, "--ctx", "256"}), ReadImatrix(gguf), 1e-6f);
  ExpectNear(Make(folder, "d.dat", {"--in-file", dat, "-c", "256", "--output-format", "gguf"}),
             ReadImatrix(gguf), 1e-6f);
}

TEST(ImatrixCommand, SummarizesAsJsonAndText) {
  const TempFolder folder;
  const std::string output = (folder.path() / "imatrix.gguf").string();
  std::vector<std::string> arguments = Chunks("1", "2");
  arguments.insert(arguments.begin(), "imatrix");
  arguments.insert(arguments.end(),
                   {"--process-output", "-o", output, "-q", "--json", "--threads", "1"});
  auto run = RunQuern(arguments);
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  const Json json = ParseJson(run.out, "imatrix");
  EXPECT_EQ(json.at("model"), kModel);
  EXPECT_EQ(json.at("output"), output);
  EXPECT_EQ(json.at("format"), "gguf");
  EXPECT_EQ(json.at("entries"), 29);
  EXPECT_EQ(json.at("chunks"), 2);
  EXPECT_EQ(json.at("chunk_size"), 256);
  EXPECT_EQ(json.at("windows"), 2);
  EXPECT_EQ(json.at("datasets"), Json({kText}));
  EXPECT_EQ(json.at("coverage").at("without_data"), Json({"token_embd.weight"}));
  EXPECT_EQ(json.at("coverage").at("experts"), Json::array());
  EXPECT_EQ(ReadImatrix(output).entries.at("output.weight").counts, std::vector<int64_t>{512});
  run = RunQuern({"imatrix", kModel, "--in-file", output, "-o", output, "--force"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("29 entries, 2 chunks of 256"),
                             HasSubstr("token_embd.weight: no data")));
}

TEST(ImatrixCommand, ReportsExpertsThatWereSeenRarelyOrNever) {
  const TempFolder folder;
  formats::imatrix::ImatrixSums sums;
  sums.chunk_size = 1024;
  sums.entries["blk.0.ffn_down_exps.weight"] = {{1, 1, 1, 0}, {2000, 5, 43, 0}};
  sums.entries["blk.0.ffn_up_exps.weight"] = {{1, 1, 1, 0}, {2000, 5, 43, 0}};
  sums.entries["blk.0.never.weight"] = {{0}, {0}};
  const std::string file = (folder.path() / "mixture.gguf").string();
  WriteImatrix(sums, formats::imatrix::ImatrixForm::kGguf, file, {});
  const std::vector<std::string> arguments = {
      "imatrix", "--in-file", file, "-o", (folder.path() / "out").string(), "--force"};
  const auto text = RunQuern(arguments);
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("out: 3 entries, 1 chunk of 1024 tokens\n"
                                  "  blk.0.never.weight: no data\n"
                                  "  blk.0.ffn_down_exps.weight, blk.0.ffn_up_exps.weight: "
                                  "partial data (75.00%), never seen: experts 3; "
                                  "fewer than 128 tokens: experts 1, 2\n"));
  auto with_json = arguments;
  with_json.push_back("--json");
  const Json json = ParseJson(RunQuern(with_json).out, "imatrix");
  EXPECT_EQ(json.at("model"), Json());
  EXPECT_EQ(json.at("coverage").at("without_data"), Json({"blk.0.never.weight"}));
  const Json& experts = json.at("coverage").at("experts").at(0);
  EXPECT_EQ(experts.at("counts"), Json({2000, 5, 43, 0}));
  EXPECT_EQ(experts.at("unseen"), Json({3}));
  EXPECT_EQ(experts.at("rare"), Json({1, 2}));
}

TEST(ImatrixCommand, RefusesWhatMakesNoSenseBeforeWorkStarts) {
  const TempFolder folder;
  const std::string output = (folder.path() / "imatrix.gguf").string();
  const auto expect = [&](std::vector<std::string> arguments, int code, const char* what) {
    arguments.insert(arguments.begin(), {"imatrix"});
    arguments.insert(arguments.end(), {"-o", output});
    const auto run = RunQuern(arguments);
    EXPECT_EQ(run.code, code) << run.err;
    EXPECT_THAT(run.err, HasSubstr(what));
    EXPECT_EQ(run.out, "");
    EXPECT_FALSE(std::filesystem::exists(output));
  };
  expect({kModel}, 2, "-f TEXT");
  expect({"-f", kText}, 2, "MODEL");
  expect({kModel, "-f", folder.Write("short", "In the beginning").string()}, 2, "two windows");
  expect({kModel, "-f", kText, "-c", "256", "--chunk", "229"}, 2, "skip fewer");
  expect({kModel, "-f", kText, "-c", "0"}, 2, "not a context");
  expect({kModel, "-f", kText, "--output-format", "yaml"}, 2, "--output-format");
  expect({"--in-file", folder.Write("bad", "something else").string()}, 3, "bad");
  expect({"--in-file", (folder.path() / "none").string()}, 3, "none");
  Bytes entry;  // of another model: three columns
  entry.Put(int32_t{1}).Put(int32_t{19}).Text("blk.0.attn_q.weight").Put(int32_t{1});
  entry.Put(int32_t{3}).Zeros(12);
  const std::string other = folder.Write("other.dat", entry).string();
  expect({kModel, "-f", kText, "--in-file", other}, 3, "blk.0.attn_q.weight");
  expect({kModel, "--in-file", other}, 3, "same model");
  const std::string earlier = TestData("kjv-4m/imatrix.gguf").string();
  expect({"--in-file", earlier, "--chunks", "2"}, 2, "--chunks");
  expect({"--in-file", earlier, "--chunk", "2"}, 2, "--chunk");
  expect({"--in-file", earlier, "--process-output"}, 2, "--process-output");
  expect({"--in-file", earlier, "--parse-special"}, 2, "--parse-special");
  expect({kModel, "--token-ids", kText, "--parse-special"}, 2, "--parse-special");
  folder.Write("imatrix.gguf", "precious");
  const auto run = RunQuern({"imatrix", kModel, "-f", kText, "-o", output});
  EXPECT_EQ(run.code, 4);
  EXPECT_THAT(run.err, HasSubstr("--force"));
  EXPECT_EQ(testing::Contents(output), "precious");
  const auto lost = RunQuern({"imatrix", kModel, "-f", kText, "-o", output + "/no/folder"});
  EXPECT_EQ(lost.code, 4);
}

}  // namespace
}  // namespace quern
