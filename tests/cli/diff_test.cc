#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();

std::string Converted(const TempFolder& folder, const std::string& type) {
  const std::string path = (folder.path() / (type + ".gguf")).string();
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", type, "-o", path}).code, 0);
  return path;
}

std::string Copy(const TempFolder& folder, const fs::path& from, const char* name) {
  fs::copy(from, folder.path() / name, fs::copy_options::recursive);
  fs::permissions(folder.path() / name, fs::perms::owner_write, fs::perm_options::add);
  return (folder.path() / name).string();
}

// Writes over the bytes of weight `index` of a tensor, which `bytes` replace.
void Overwrite(const std::string& model, const char* name, uint64_t index,
               const std::string& bytes) {
  const auto source = formats::OpenModel(model);
  const TensorInfo* tensor = source->FindTensor(name);
  ASSERT_NE(tensor, nullptr);
  const std::string path = source->files()[tensor->file].path();
  fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(tensor->offset + index * bytes.size()));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good());
}

TEST(DiffCommand, FindsAFileEqualToItselfAndToItsSource) {
  const TempFolder folder;
  const std::string f32 = Converted(folder, "F32");
  for (const auto& [a, b] : {std::pair(f32, f32), std::pair(kModel, kModel)}) {
    const auto run = RunQuern({"diff", a, b});
    EXPECT_EQ(run.code, 0) << run.err << run.out;
    EXPECT_THAT(run.out, HasSubstr("39 equal, 0 equal in value"));
  }
  const auto run = RunQuern({"diff", kModel, f32, "-q"});
  EXPECT_EQ(run.code, 0) << run.err << run.out;
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, HasSubstr("39 tensors  BF16 -> F32  equal values"));
}

TEST(SlowDiffCommand, NamesTheOneWeightThatWasChanged) {
  const TempFolder folder;
  const std::string f32 = Converted(folder, "F32");
  const std::string changed = Copy(folder, f32, "changed.gguf");
  const uint64_t row = 77, column = 123;  // of [768, 256]
  Overwrite(changed, "blk.2.ffn_up.weight", row * 256 + column, std::string(4, '\0'));
  for (const std::string& original : {f32, kModel}) {
    const auto run = RunQuern({"diff", original, changed, "--json"});
    ASSERT_EQ(run.code, 1) << run.err;
    const Json json = ParseJson(run.out, "diff");
    EXPECT_EQ(json.at("equal"), false);
    EXPECT_EQ(json.at("metadata"), Json::array());
    size_t different = 0;
    for (const Json& tensor : json.at("tensors")) {
      if (tensor.at("relation") != "different_values") continue;
      ++different;
      EXPECT_EQ(tensor.at("name"), "blk.2.ffn_up.weight");
      const Json& error = tensor.at("error");
      EXPECT_EQ(error.at("different"), 1);
      EXPECT_EQ(error.at("weights"), 768 * 256);
      EXPECT_EQ(error.at("first_difference").at("row"), row);
      EXPECT_EQ(error.at("first_difference").at("column"), column);
      EXPECT_EQ(error.at("first_difference").at("b"), 0);
      EXPECT_EQ(error.at("worst_block").at("row"), row);
      EXPECT_EQ(error.at("nan").at("a"), 0);
    }
    EXPECT_EQ(different, 1u);
  }
  const auto text = RunQuern({"diff", f32, changed});
  EXPECT_EQ(text.code, 1);
  EXPECT_THAT(text.out, HasSubstr("blk.2.ffn_up.weight"));
  EXPECT_THAT(text.out, HasSubstr("[77, 123]"));
  EXPECT_THAT(text.out, HasSubstr("38 equal"));
}

TEST(SlowDiffCommand, ComparesFoldersUnderTheirOwnNames) {
  const TempFolder folder;
  const std::string copy = Copy(folder, kModel, "copy");
  const std::string name = "model.layers.1.self_attn.q_proj.weight";
  Overwrite(copy, name.c_str(), 300, "\xc0\x7f");  // NaN in bf16
  const fs::path config = fs::path(copy) / "config.json";
  Json json = ParseJson(testing::Contents(config), "config");
  json["rope_theta"] = 12345.0;
  fs::remove(config);
  std::ofstream(config) << json.dump();
  const auto run = RunQuern({"diff", kModel, copy});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.out, HasSubstr("~ config/rope_theta  f64 10000.0 -> f64 12345.0"));
  EXPECT_THAT(run.out, HasSubstr("~ " + name));
  EXPECT_THAT(run.out, HasSubstr("[1, 44]"));
  EXPECT_THAT(run.out, HasSubstr("1 NaN in B"));
  const auto filtered = RunQuern({"diff", "--metadata-only", "--ignore", "config/*", kModel, copy});
  EXPECT_EQ(filtered.code, 0) << filtered.out;
  const auto tensors = RunQuern({"diff", "--tensors-only", kModel, copy});
  EXPECT_EQ(tensors.code, 1);
  EXPECT_THAT(tensors.out, Not(HasSubstr("rope_theta")));
}

TEST(SlowDiffCommand, SaysWhatQuantizationHasDone) {
  const TempFolder folder;
  const std::string f32 = Converted(folder, "F32"), q4 = Converted(folder, "Q4_K_M");
  const auto run = RunQuern({"diff", f32, q4, "--json", "--memory", "1M", "--threads", "1"});
  ASSERT_EQ(run.code, 1);
  const Json json = ParseJson(run.out, "diff");
  ASSERT_EQ(json.at("metadata").size(), 1u);
  EXPECT_EQ(json["metadata"][0].at("key"), "general.file_type");
  EXPECT_EQ(json["metadata"][0].at("a").at("value"), 0);
  EXPECT_EQ(json["metadata"][0].at("b").at("value"), 15);
  for (const Json& tensor : json.at("tensors")) {
    if (tensor.at("b").at("type") == "F32") {
      EXPECT_EQ(tensor.at("relation"), "equal");
    } else {
      EXPECT_EQ(tensor.at("relation"), "different_values");
      EXPECT_NEAR(tensor.at("error").at("relative_rmse").get<double>(),
                  tensor["b"]["type"] == "Q4_K" ? 0.071 : 0.017, 0.002);
    }
  }
  EXPECT_EQ(RunQuern({"diff", f32, q4, "--json"}).out, run.out);
}

TEST(DiffCommand, RefusesWhatIsNoModel) {
  const TempFolder folder;
  EXPECT_EQ(RunQuern({"diff", kModel}).code, 2);
  EXPECT_EQ(RunQuern({"diff", kModel, (folder.path() / "none").string()}).code, 3);
  EXPECT_EQ(RunQuern({"diff", kModel, folder.Write("text", "no model").string()}).code, 3);
  EXPECT_EQ(RunQuern({"diff", kModel, kModel, "--tensors-only", "--metadata-only"}).code, 2);
}

class BaseFiles : public ::testing::Test {
 protected:
  BaseFiles() {
    std::string ids = "1";
    for (int i = 1; i < 300; ++i) ids += " " + std::to_string(3 + i * 37 % 2000);
    ids_ = folder_.Write("ids", ids).string();
    base_ = (folder_.path() / "base").string();
  }
  testing::Outcome WriteBase(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"perplexity", kModel, "--token-ids", ids_, "-c", "32", "-q",
                               "--kl-divergence-base", base_});
    return RunQuern(more);
  }

  TempFolder folder_;
  std::string ids_, base_;
};

using SlowBaseFiles = BaseFiles;
using SlowDriftByTensor = BaseFiles;

TEST_F(SlowBaseFiles, TakeTheReferencesPlace) {
  ASSERT_EQ(WriteBase().code, 0);
  EXPECT_EQ(fs::file_size(base_), 20 + 9 * 32 * 4 + 9 * 15 * (8 + 2 * 2048));
  EXPECT_EQ(WriteBase().code, 4);  // it is there
  EXPECT_EQ(WriteBase({"--force", "--save-all-logits", base_ + "2"}).code, 2);
  EXPECT_EQ(WriteBase({"--force"}).code, 0);
  const std::string q4 = Converted(folder_, "Q4_K_M"), q8 = Converted(folder_, "Q8_0");
  const auto run = RunQuern({"drift", "--kl-divergence-base", base_, q8, q4, "--json", "-q"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json from_base = ParseJson(run.out, "drift");
  const auto lockstep =
      RunQuern({"drift", kModel, q8, q4, "--token-ids", ids_, "-c", "32", "--json", "-q"});
  const Json exact = ParseJson(lockstep.out, "drift");
  EXPECT_EQ(from_base.at("reference").at("file"), base_);
  for (const char* key : {"context", "windows", "tokens_scored", "bos"}) {
    EXPECT_EQ(from_base.at(key), exact.at(key)) << key;
  }
  for (size_t i = 0; i < 2; ++i) {
    const Json &drift = from_base.at("candidates").at(i), &expected = exact.at("candidates").at(i);
    EXPECT_EQ(drift.at("file"), expected.at("file"));
    EXPECT_NEAR(drift.at("kld").at("mean").get<double>(),
                expected.at("kld").at("mean").get<double>(), 1e-5);
    // Random tokens are often less likely than what the file can say, so its perplexity is lower.
    EXPECT_GT(drift.at("ppl_ratio"), expected.at("ppl_ratio"));
    EXPECT_NEAR(drift.at("perplexity").get<double>() / expected.at("perplexity").get<double>(), 1,
                1e-6);
  }
  const auto failing =
      RunQuern({"drift", "--kl-divergence-base", base_, q4, "-q", "--max-kld", "1e-6"});
  EXPECT_EQ(failing.code, 1);
  EXPECT_THAT(failing.err, HasSubstr("mean KLD"));
}

TEST_F(SlowBaseFiles, HoldTheTextAndNoWeights) {
  ASSERT_EQ(WriteBase({"--chunks", "2"}).code, 0);
  const auto drift = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"drift", "--kl-divergence-base", base_, kModel});
    return RunQuern(more).code;
  };
  EXPECT_EQ(drift({}), 0);
  EXPECT_EQ(drift({"--token-ids", ids_}), 2);
  EXPECT_EQ(drift({"-f", ids_}), 2);
  EXPECT_EQ(drift({"--ctx", "64"}), 2);
  EXPECT_EQ(drift({"--by-tensor"}), 2);
  EXPECT_EQ(RunQuern({"drift", kModel, "--token-ids", ids_}).code, 2);
  EXPECT_EQ(RunQuern({"drift", "--kl-divergence-base", ids_, kModel}).code, 3);
}

TEST_F(SlowDriftByTensor, ShowsTheWorstFirst) {
  const std::string q4 = Converted(folder_, "Q4_K_M");
  std::vector<std::string> command = {"drift", kModel, q4,   "--token-ids", ids_,
                                      "-c",    "32",   "-q", "--by-tensor"};
  const auto text = RunQuern(command);
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("BF16 > Q4_K"));
  EXPECT_THAT(text.out, HasSubstr("9 tensors without error"));
  EXPECT_LT(text.out.find("BF16 > Q4_K"), text.out.find("BF16 > Q6_K"));
  command.push_back("--json");
  const Json json = ParseJson(RunQuern(command).out, "drift");
  const Json& tensors = json.at("candidates").at(0).at("tensors");
  ASSERT_EQ(tensors.size(), 39u);
  for (const Json& tensor : tensors) {
    EXPECT_EQ(tensor.at("reference_type"), "BF16");
    EXPECT_LT(tensor.at("relative_rmse"), 0.08);
    EXPECT_EQ(tensor.at("relative_rmse") == 0, tensor.at("type") == "F32");
  }
}

}  // namespace
}  // namespace quern
