// verify, hash, and convert --manifest, as a user runs them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/cli/run_quern.h"
#include "tests/support/ollama_store.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::OllamaStore;
using testing::Outcome;
using testing::RunQuern;
using testing::Sha256Hex;
using testing::SmallGguf;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();
const std::string kImatrix = (TestData("kjv-4m") / "imatrix.gguf").string();

Json Report(const Outcome& outcome) { return ParseJson(outcome.out, "report"); }

void Change(const fs::path& path, uint64_t at, uint8_t bits) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(file.get() ^ bits);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

TEST(Verify, ReportsAWholeModelAsOk) {
  const Outcome outcome = RunQuern({"verify", kModel, "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  const Json report = Report(outcome);
  EXPECT_EQ(report["ok"], true);
  EXPECT_GE(report["checked"].get<int>(), 2);
  EXPECT_GT(report["bytes"].get<uint64_t>(), 8000000u);
  EXPECT_TRUE(report["problems"].is_array() && report["problems"].empty());
  EXPECT_THAT(RunQuern({"verify", kModel}).out, HasSubstr("ok: "));
}

TEST(Verify, ExitsWith1AndNamesFileAndKind) {
  const TempFolder folder;
  const OllamaStore store(folder.path() / "models");
  const std::string weights = SmallGguf();
  store.AddModel("registry.ollama.ai/library/small/latest", {{"model", weights, "", ""}});
  const fs::path blob = store.BlobPath(Sha256Hex(weights));
  const std::vector<std::string> ask = {"verify", "ollama:small", "--store", store.root().string()};
  EXPECT_EQ(RunQuern(ask).code, 0);
  Change(blob, weights.size() - 5, 1);
  const Outcome outcome = RunQuern(ask);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr(blob.filename().string() + ": checksum: SHA-256 is "));
  EXPECT_THAT(outcome.out, HasSubstr("\n1 problem: "));
  const Outcome json = RunQuern({"verify", store.root().string(), "--json"});
  EXPECT_EQ(json.code, 1);
  const Json problem = Report(json)["problems"][0];
  EXPECT_EQ(problem["kind"], "checksum");
  EXPECT_EQ(problem["path"], fs::canonical(blob).string());
  EXPECT_THAT(problem["detail"].get<std::string>(), HasSubstr("fetch it again"));
}

TEST(Verify, ListsOrphansAndDuplicates) {
  const TempFolder folder;
  const OllamaStore store(folder.path() / "models");
  store.AddModel("registry.ollama.ai/library/small/latest", {{"model", SmallGguf(), "", ""}});
  store.AddBlob("nobody's");
  const fs::path copy = folder.Write("copy.gguf", SmallGguf());
  const Outcome outcome = RunQuern({"verify", store.root().string(), copy.string(),
                                    "--allow-orphans", "--duplicates", "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.out;
  const Json report = Report(outcome);
  EXPECT_EQ(report["orphans"][0]["bytes"], 8);
  EXPECT_EQ(report["duplicates"][0]["sha256"], Sha256Hex(SmallGguf()));
  EXPECT_EQ(report["duplicates"][0]["paths"].size(), 2u);
  EXPECT_EQ(report["reclaimable_bytes"], SmallGguf().size());
  EXPECT_TRUE(fs::exists(copy));
}

TEST(Verify, RefusesWhatIsNotThere) {
  const TempFolder folder;
  EXPECT_EQ(RunQuern({"verify", (folder.path() / "none").string()}).code, 3);
  EXPECT_EQ(RunQuern({"verify", folder.path().string()}).code, 2);
  EXPECT_EQ(RunQuern({"verify"}).code, 2);
  EXPECT_EQ(RunQuern({"verify", kModel, "--imatrix", kImatrix}).code, 2);
}

TEST(Hash, IsCheckedAgainstItsOwnListInBothForms) {
  const TempFolder folder;
  const std::string gguf = (folder.path() / "m.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", gguf}).code, 0);
  const Outcome json = RunQuern({"hash", gguf, "--json"}), text = RunQuern({"hash", gguf});
  ASSERT_EQ(json.code + text.code, 0);
  const std::string lists[] = {folder.Write("list.json", json.out).string(),
                               folder.Write("list.txt", text.out).string()};
  for (const std::string& list : lists) {
    EXPECT_EQ(RunQuern({"hash", gguf, "--check", list}).code, 0) << list;
  }
  const auto source = formats::OpenModel(gguf);
  const TensorInfo& tensor = source->tensors()[5];
  Change(gguf, tensor.offset + 3, 1);
  for (const std::string& list : lists) {
    const Outcome outcome = RunQuern({"hash", gguf, "--check", list, "--json"});
    EXPECT_EQ(outcome.code, 1);
    const Json report = Report(outcome);
    ASSERT_EQ(report["problems"].size(), 1u);
    EXPECT_EQ(report["problems"][0]["kind"], "checksum");
    EXPECT_THAT(report["problems"][0]["detail"].get<std::string>(), HasSubstr(tensor.name));
  }
}

TEST(Hash, DoesNotDependOnTheContainer) {
  const TempFolder folder;
  const std::string list = folder.Write("list.json", RunQuern({"hash", kModel, "--json"}).out);
  EXPECT_EQ(RunQuern({"hash", kModel, "--check", list}).code, 0);
  const std::string other = (folder.path() / "f32.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "F32", "-o", other}).code, 0);
  const Outcome outcome = RunQuern({"hash", other, "--check", list, "--json"});
  EXPECT_EQ(outcome.code, 1);  // other names
  for (const Json& problem : Report(outcome)["problems"]) {
    EXPECT_TRUE(problem["kind"] == "missing" || problem["kind"] == "unexpected");
  }
}

TEST(Hash, RefusesABrokenListBeforeItReadsTheModel) {
  const TempFolder folder;
  for (const std::string text : {"{\"tensors\": 1}", "{", "abc  x", "{\"tensors\":[{}]}"}) {
    EXPECT_EQ(RunQuern({"hash", kModel, "--check", folder.Write("list", text).string()}).code, 3)
        << text;
  }
}

TEST(Manifest, HoldsHashesOfAllFilesAndChangesNoByte) {
  const TempFolder folder;
  const auto path = [&](const char* name) { return (folder.path() / name).string(); };
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q4_0", "-o", path("plain.gguf")}).code, 0);
  const std::vector<std::string> ask = {
      "convert",           kModel,       "-t",           "Q4_0",      "-o",
      path("m.gguf"),      "--manifest", path("m.json"), "--imatrix", kImatrix,
      "--exclude-weights", "ffn"};
  const Outcome outcome = RunQuern(ask);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json manifest = ParseJson(Contents(path("m.json")), "m.json");
  EXPECT_EQ(manifest["command"], "convert");
  EXPECT_EQ(manifest["architecture"], "llama");
  EXPECT_EQ(manifest["options"]["--type"], Json::array({"Q4_0"}));
  ASSERT_EQ(manifest["outputs"].size(), 1u);
  EXPECT_EQ(manifest["outputs"][0]["sha256"], Sha256Hex(Contents(path("m.gguf"))));
  bool has_imatrix = false;
  for (const Json& file : manifest["sources"]) {
    const std::string name = file["path"];
    EXPECT_EQ(file["sha256"], Sha256Hex(Contents(name))) << name;
    EXPECT_EQ(file["bytes"], fs::file_size(name));
    has_imatrix |= name == kImatrix;
  }
  EXPECT_TRUE(has_imatrix);
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q4_0", "-o", path("again.gguf"), "--manifest",
                      path("again.json")})
                .code,
            0);
  EXPECT_TRUE(Contents(path("again.gguf")) == Contents(path("plain.gguf")));
  // It is there already, and it may not be the output itself.
  EXPECT_EQ(RunQuern(ask).code, 4);
  EXPECT_EQ(RunQuern({"convert", kModel, "-o", path("x.gguf"), "--manifest", path("x.gguf")}).code,
            2);
  EXPECT_FALSE(fs::exists(path("x.gguf")));
}

class AgainstSlow : public ::testing::Test {
 protected:
  AgainstSlow() : model_(folder_.path() / "model") { fs::copy(kModel, model_); }

  std::string Make(const std::string& type, const std::vector<std::string>& more = {}) {
    const std::string path = (folder_.path() / (type + ".gguf")).string();
    std::vector<std::string> ask = {"convert", model_.string(), "-t", type, "-o", path, "--force"};
    ask.insert(ask.end(), more.begin(), more.end());
    EXPECT_EQ(RunQuern(ask).code, 0);
    return path;
  }

  Outcome Ask(const std::string& gguf, const std::vector<std::string>& more = {}) {
    std::vector<std::string> ask = {"verify", gguf, "--against", model_.string(), "--json"};
    ask.insert(ask.end(), more.begin(), more.end());
    return RunQuern(ask);
  }

  // Turns the sign of the largest of a matrix's first weights, in the source.
  void ChangeOneWeight(const std::string& name) {
    const auto source = formats::OpenModel(model_);
    const TensorInfo& tensor = *source->FindTensor(name);
    ASSERT_EQ(tensor.type, TensorType::kBF16);
    std::vector<uint16_t> weights(1024);
    source->Read(tensor, 0, {reinterpret_cast<uint8_t*>(weights.data()), 2 * weights.size()});
    size_t largest = 0;
    const auto size = [&](size_t i) {
      return std::fabs(std::bit_cast<float>(static_cast<uint32_t>(weights[i]) << 16));
    };
    for (size_t i = 0; i < weights.size(); ++i) {
      if (size(i) > size(largest)) largest = i;
    }
    Change(source->files()[tensor.file].path(), tensor.offset + 2 * largest + 1, 0x80);
  }

  static void ExpectOnly(const Outcome& outcome, const std::string& tensor) {
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    const Json report = Report(outcome);
    ASSERT_EQ(report["problems"].size(), 1u) << report["problems"].dump(1);
    EXPECT_EQ(report["problems"][0]["kind"], "differs");
    EXPECT_THAT(report["problems"][0]["detail"].get<std::string>(), HasSubstr(tensor + ": 1 of "));
  }

  static void ExpectAll(const Outcome& outcome, const std::string& verdict) {
    EXPECT_EQ(outcome.code, 0) << outcome.out << outcome.err;
    for (const Json& tensor : Report(outcome)["tensors"]) {
      EXPECT_EQ(tensor["verdict"], verdict) << tensor.dump();
    }
  }

  TempFolder folder_;
  fs::path model_;
};

TEST_F(AgainstSlow, SaysYesForHonestOutputs) {
  for (const std::string type : {"F16", "Q8_0", "Q4_K_M", "IQ4_XS"}) {
    ExpectAll(Ask(Make(type)), "equal");
  }
  ExpectAll(Ask(Make("Q5_K_M", {"--via", "F32"})), "equal");
  const std::string two_steps = (folder_.path() / "two.gguf").string();
  ASSERT_EQ(RunQuern({"quantize", Make("F16"), "-t", "Q6_K", "-o", two_steps}).code, 0);
  ExpectAll(Ask(two_steps), "equal");
}

TEST_F(AgainstSlow, SaysYesWithAnImportanceMatrixGivenOrNot) {
  const std::string gguf = Make("Q4_K_M", {"--imatrix", kImatrix});
  ExpectAll(Ask(gguf, {"--imatrix", kImatrix}), "equal");
  const Outcome without = Ask(gguf);
  EXPECT_EQ(without.code, 0);
  EXPECT_THAT(without.out, HasSubstr("\"within_bound\""));
  EXPECT_THAT(without.out, HasSubstr("made with an importance matrix"));
}

TEST_F(AgainstSlow, SaysYesForWhatLlamaCppMade) {
  QUERN_SHARED_OR_SKIP(script, "conformance/oracle_quantize.py");
  const auto libraries = testing::OracleLibraries();
  if (!libraries) GTEST_SKIP() << "no llama.cpp libraries";
  const std::string source = Make("BF16");
  for (const char* file_type : {"15", "26"}) {  // Q4_K_M, IQ3_S
    const std::string theirs = (folder_.path() / (std::string(file_type) + ".gguf")).string();
    const std::string command = "python3 " + script.string() + " " + libraries->string() + " " +
                                source + " " + theirs + " " + file_type + " > /dev/null 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    ExpectAll(Ask(theirs), "equal");
  }
}

TEST_F(AgainstSlow, NamesTheTensorWhenOneWeightOfTheSourceWasChanged) {
  const std::vector<std::string> files = {Make("BF16"), Make("Q8_0"), Make("Q4_K_M"),
                                          Make("Q3_K_M", {"--imatrix", kImatrix})};
  ChangeOneWeight("model.layers.1.mlp.down_proj.weight");
  for (size_t i = 0; i < 3; ++i) ExpectOnly(Ask(files[i]), "blk.1.ffn_down.weight");
  ExpectOnly(Ask(files[3], {"--imatrix", kImatrix}), "blk.1.ffn_down.weight");
}

TEST_F(AgainstSlow, FollowsPermutedRowsToTheWeight) {
  const std::string gguf = Make("Q6_K");
  ChangeOneWeight("model.layers.2.self_attn.q_proj.weight");
  ExpectOnly(Ask(gguf), "blk.2.attn_q.weight");
}

TEST_F(AgainstSlow, NamesTheTensorWhenOneBlockOfTheOutputWasChanged) {
  for (const std::string type : {"F32", "Q8_0", "Q4_K_M", "IQ4_XS"}) {
    const std::string gguf = Make(type);
    const TensorInfo tensor = *formats::OpenModel(gguf)->FindTensor("blk.0.ffn_up.weight");
    // One quant of a block by one step; the second byte of a float.
    Change(gguf, tensor.offset + 5 * Info(tensor.type).block_bytes + (type == "F32" ? 1 : 12), 1);
    ExpectOnly(Ask(gguf), "blk.0.ffn_up.weight");
  }
}

TEST_F(AgainstSlow, SaysNoForAnotherModel) {
  const std::string gguf = Make("Q8_0");
  for (int layer = 0; layer < 4; ++layer) {
    for (const char* matrix : {"mlp.down_proj", "mlp.up_proj"}) {
      ChangeOneWeight("model.layers." + std::to_string(layer) + "." + matrix + ".weight");
    }
  }
  const Outcome outcome = Ask(gguf);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(Report(outcome)["problems"].size(), 8u);
}

TEST_F(AgainstSlow, NamesWhatIsMissing) {
  const std::string gguf = Make("Q8_0", {"--prune-layers", "3"});
  const Outcome outcome = Ask(gguf);
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("\"missing\""));
  EXPECT_THAT(outcome.out, HasSubstr("key llama.block_count has another value"));
}

}  // namespace
}  // namespace quern
