// Options that decide a plan, as a user gives them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "formats/core/json.h"
#include "formats/gguf/gguf_writer.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();

// `quern COMMAND MODEL -t TYPE ARGUMENTS --json`, nothing written.
Json PlanOf(const std::string& type, std::vector<std::string> arguments) {
  std::vector<std::string> all = {"convert", kModel, "-t", type, "--json"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const Outcome outcome = RunQuern(all);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.code == 0 ? ParseJson(outcome.out, "plan")["outputs"][0] : Json();
}

Json TensorOf(const Json& plan, const std::string& name) {
  for (const Json& tensor : plan["tensors"]) {
    if (tensor["name"] == name) return tensor;
  }
  return Json();
}

// A GGUF with one block of two matrices of F32.
std::string WriteModel(const TempFolder& folder, uint64_t columns,
                       std::vector<float> weights = {}) {
  Metadata metadata;
  metadata.Set("general.architecture", std::string("llama"));
  metadata.Set("llama.block_count", uint32_t{1});
  const std::vector<formats::gguf::TensorSpec> tensors = {
      {"blk.0.ffn_up.weight", {4, columns}, TensorType::kF32},
      {"token_embd.weight", {4, columns}, TensorType::kF32}};
  const formats::gguf::Layout layout = formats::gguf::LayOut(metadata, tensors);
  std::vector<uint8_t> file = layout.header;
  file.resize(layout.file_bytes);
  const auto bytes = std::as_bytes(std::span(weights));
  std::transform(bytes.begin(), bytes.end(),
                 file.begin() + static_cast<ptrdiff_t>(layout.offsets[0]),
                 [](std::byte byte) { return static_cast<uint8_t>(byte); });
  return folder.Write("model.gguf", file).string();
}

TEST(PlanOptions, ExplainNamesTheRuleOfEachTensorAndWritesNothing) {
  const TempFolder folder;
  const Outcome table = RunQuern({"convert", kModel, "-t", "Q4_K_M", "--explain", "--tensor-type",
                                  "attn_q=q8_0", "--token-embedding-type", "Q4_0"},
                                 folder.path());
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("--tensor-type attn_q=Q8_0"));
  EXPECT_THAT(table.out, HasSubstr("--token-embedding-type -> Q4_0"));
  EXPECT_THAT(table.out, HasSubstr("-> Q6_K"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
  const Json plan = PlanOf("Q4_K_M", {"--explain"});
  for (const Json& tensor : plan["tensors"]) {
    EXPECT_FALSE(tensor["reason"].get<std::string>().empty());
    EXPECT_TRUE(tensor.contains("source_type") && tensor.contains("fallback"));
  }
}

TEST(PlanOptions, TensorTypesOfFilesAndArgumentsWinInTheirOrder) {
  const TempFolder folder;
  const std::string list =
      folder.Write("types.txt", "attn_q=Q8_0\n  ATTN_K=q6_k\tffn_up=Q5_0\n\n").string();
  const Json first = PlanOf("Q4_K_M", {"--explain", "--tensor-type-file", list, "--tensor-type",
                                       "attn_q=Q4_0", "--tensor-type", "ffn_down=Q5_1"});
  EXPECT_EQ(TensorOf(first, "blk.0.attn_q.weight")["type"], "Q8_0");
  EXPECT_EQ(TensorOf(first, "blk.1.attn_k.weight")["type"], "Q6_K");
  EXPECT_EQ(TensorOf(first, "blk.1.ffn_up.weight")["type"], "Q5_0");
  EXPECT_EQ(TensorOf(first, "blk.1.ffn_down.weight")["type"], "Q5_1");
  const Json last =
      PlanOf("Q4_K_M", {"--explain", "--tensor-type", "attn_q=Q4_0", "--tensor-type-file", list});
  EXPECT_EQ(TensorOf(last, "blk.0.attn_q.weight")["type"], "Q4_0");

  const std::string bad = folder.Write("bad.txt", "attn_q=Q8_0 attn_k").string();
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"--tensor-type-file", bad}, {"--tensor-type", "=Q8_0"}, {"--tensor-type", "a=Q77"}}) {
    std::vector<std::string> all = {"convert", kModel, "-t", "Q8_0", "--explain"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    EXPECT_EQ(RunQuern(all).code, 2) << arguments[1];
  }
  EXPECT_EQ(RunQuern({"convert", kModel, "--explain", "--tensor-type-file",
                      (folder.path() / "absent").string()})
                .code,
            3);
}

TEST(PlanOptions, OverridesAndPrunedLayersAreTheSameInOneStepAndTwo) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-o", path("auto.gguf")}).code, 0);
  const std::vector<std::string> options = {"-t",
                                            "Q4_K_M",
                                            "--prune-layers",
                                            "1,2",
                                            "--imatrix",
                                            kModel + "/imatrix.dat",
                                            "--override-kv",
                                            "general.name=str:cut",
                                            "--override-kv",
                                            "llama.context_length=int:99"};
  for (const auto& [command, model, out] :
       std::vector<std::tuple<std::string, std::string, std::string>>{
           {"convert", kModel, path("one.gguf")},
           {"quantize", path("auto.gguf"), path("two.gguf")}}) {
    std::vector<std::string> all = {command, model, "-o", out};
    all.insert(all.end(), options.begin(), options.end());
    const Outcome outcome = RunQuern(all);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  }
  EXPECT_TRUE(Contents(path("one.gguf")) == Contents(path("two.gguf")));
  const Json found =
      ParseJson(RunQuern({"inspect", path("one.gguf"), "--tensors", "--json"}).out, "");
  Json values;
  for (const Json& entry : found["metadata"])
    values[entry["key"].get<std::string>()] = entry["value"];
  EXPECT_EQ(values["general.name"], "cut");
  EXPECT_EQ(values["llama.context_length"], 99);
  EXPECT_EQ(values["llama.block_count"], 2);
  EXPECT_EQ(found["metadata"].back()["key"], "llama.block_count");
  EXPECT_TRUE(std::any_of(found["tensors"].begin(), found["tensors"].end(), [](const Json& tensor) {
    return tensor["name"] == "blk.1.attn_q.weight";
  }));
}

TEST(PlanOptions, RefusesBadOverridesAndLayers) {
  for (const auto& [option, value] :
       std::vector<std::pair<std::string, std::string>>{{"--override-kv", "a=int:x"},
                                                        {"--override-kv", "a=b"},
                                                        {"--prune-layers", "4"},
                                                        {"--prune-layers", "1,1"},
                                                        {"--prune-layers", "0,1,2,3"},
                                                        {"--prune-layers", "x"}}) {
    const Outcome outcome = RunQuern({"convert", kModel, "--explain", option, value});
    EXPECT_EQ(outcome.code, 2) << value;
    EXPECT_THAT(outcome.err, HasSubstr(option));
  }
  EXPECT_EQ(RunQuern({"convert", kModel, "--explain", "--override-kv", "a=int:1", "--override-kv",
                      "a=int:2"})
                .code,
            2);
}

// The GGUF form has sums and counts, the legacy form means scaled by the number of chunks. (The
// file's name is among the keys, so it is the same here.)
TEST(PlanOptions, BothFormsOfAnImatrixGiveTheSameFile) {
  const TempFolder folder;
  std::vector<std::string> files;
  for (const std::string form : {"imatrix.gguf", "imatrix.dat"}) {
    fs::create_directory(folder.path() / form);
    fs::copy(kModel + "/" + form, folder.path() / form / "imatrix");
    const std::string out = (folder.path() / (form + ".out")).string();
    const Outcome outcome =
        RunQuern({"convert", kModel, "-t", "Q4_K_M", "-o", out, "--imatrix", "imatrix"},
                 folder.path() / form);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    files.push_back(Contents(out));
  }
  EXPECT_TRUE(files[0] == files[1]);
}

TEST(PlanOptions, FiltersOfAnImatrixNeedOneAndLeaveSomething) {
  const std::string imatrix = kModel + "/imatrix.dat";
  EXPECT_EQ(RunQuern({"convert", kModel, "--explain", "--include-weights", "ffn"}).code, 2);
  EXPECT_EQ(
      RunQuern({"convert", kModel, "--explain", "--imatrix", imatrix, "--include-weights", "fnn"})
          .code,
      2);
  EXPECT_EQ(RunQuern({"convert", kModel, "--explain", "--imatrix", imatrix, "--include-weights",
                      "ffn", "--exclude-weights", "attn"})
                .code,
            2);
  const Json plan =
      PlanOf("Q4_K_M", {"--explain", "--imatrix", imatrix, "--exclude-weights", "attn_q"});
  EXPECT_EQ(TensorOf(plan, "blk.0.attn_q.weight")["importance"], false);
  EXPECT_EQ(TensorOf(plan, "blk.0.attn_k.weight")["importance"], true);
}

TEST(PlanOptions, StrictRefusesFallBacks) {
  const TempFolder folder;
  const std::string model = WriteModel(folder, 288);
  const Outcome lax = RunQuern({"quantize", model, "-t", "Q4_K_M", "--explain"});
  EXPECT_EQ(lax.code, 0);
  EXPECT_THAT(lax.err, HasSubstr("--strict"));
  EXPECT_THAT(lax.out, HasSubstr("-> Q5_0"));
  const Outcome strict = RunQuern({"quantize", model, "-t", "Q4_K_M", "--explain", "--strict"});
  EXPECT_EQ(strict.code, 5);
  EXPECT_THAT(strict.err, HasSubstr("blk.0.ffn_up.weight"));
  EXPECT_EQ(RunQuern({"quantize", model, "-t", "Q8_0", "--explain", "--strict"}).code, 0);
}

TEST(PlanOptions, NonFiniteWeightsAreAnErrorUnlessAllowed) {
  const TempFolder folder;
  std::vector<float> weights(1024, 0.5f);
  weights[300] = NAN;
  weights[700] = -INFINITY;
  const std::string model = WriteModel(folder, 256, weights);
  const std::string out = (folder.path() / "out.gguf").string();
  for (const std::string type : {"Q8_0", "Q4_K_M", "IQ4_XS", "TQ1_0", "F16", "BF16"}) {
    const Outcome refused = RunQuern({"quantize", model, "-t", type, "-o", out, "--force"});
    EXPECT_EQ(refused.code, 3) << type;
    EXPECT_THAT(refused.err, HasSubstr("blk.0.ffn_up.weight")) << type;
    EXPECT_THAT(refused.err, HasSubstr("weight 300")) << type;
    const Outcome allowed =
        RunQuern({"quantize", model, "-t", type, "-o", out, "--force", "--allow-nonfinite"});
    EXPECT_EQ(allowed.code, 0) << type << allowed.err;
    EXPECT_THAT(allowed.err, HasSubstr("1 tensors have weights that are NaN")) << type;
  }
}

TEST(PlanOptions, RequantizingIsNoted) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", path("a.gguf")}).code, 0);
  EXPECT_EQ(RunQuern({"quantize", path("a.gguf"), "-t", "Q4_0", "-o", path("b.gguf")}).code, 2);
  for (const std::string command : {"quantize", "convert"}) {
    const Outcome outcome = RunQuern({command, path("a.gguf"), "-t", "Q4_0", "-o", path("b.gguf"),
                                      "--allow-requantize", "--force"});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.err, HasSubstr("lose precision a second time"));
  }
}

}  // namespace
}  // namespace quern
