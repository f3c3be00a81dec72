#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "formats/core/json.h"
#include "tests/cli/run_quern.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;

const std::string kModel = TestData("kjv-4m").string();
const std::string kText = TestData("kjv-4m/heldout.txt").string();

// Ids of the bundled model's vocabulary, drawn at random: nobody's text, but a model scores it.
std::string RandomIds(const TempFolder& folder, size_t count = 300, int32_t end = 2048) {
  std::mt19937 random(1);
  std::string ids = "1";
  for (size_t i = 1; i < count; ++i) ids += "\n" + std::to_string(3 + random() % (end - 3));
  return folder.Write("ids", ids).string();
}

std::string Quantized(const TempFolder& folder, const std::string& type) {
  const std::string path = (folder.path() / (type + ".gguf")).string();
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", type, "-o", path}).code, 0);
  return path;
}

TEST(PerplexityCommand, PrintsTheWholeProtocolAsJson) {
  const TempFolder folder;
  const auto run = RunQuern({"perplexity", kModel, "--token-ids", RandomIds(folder), "-f", kText,
                             "--ctx", "64", "--chunks", "3", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("[3]"));
  const Json json = ParseJson(run.out, "perplexity");
  EXPECT_GT(json.at("perplexity"), 100);
  EXPECT_GT(json.at("standard_error"), 0);
  EXPECT_EQ(json.at("tokens"), 300);
  EXPECT_EQ(json.at("tokens_scored"), 3 * 31);
  EXPECT_EQ(json.at("windows"), 3);
  EXPECT_EQ(json.at("context"), 64);
  EXPECT_EQ(json.at("bos"), 1);
  EXPECT_GT(json.at("bits_per_byte"), 0);
  EXPECT_GT(json.at("word_perplexity"), 1);
}

TEST(PerplexityCommand, GivesTheSameFigureForFolderAndFile) {
  const TempFolder folder;
  const std::string ids = RandomIds(folder);
  std::vector<double> figures;
  for (const std::string& model : {kModel, Quantized(folder, "F32"), Quantized(folder, "BF16")}) {
    const auto run =
        RunQuern({"perplexity", model, "--token-ids", ids, "-c", "32", "--json", "--quiet"});
    ASSERT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(run.err, "");
    figures.push_back(ParseJson(run.out, "perplexity").at("perplexity"));
  }
  EXPECT_EQ(figures[1], figures[0]);
  EXPECT_EQ(figures[2], figures[0]);
}

TEST(PerplexityCommand, RefusesWhatIsNoText) {
  const TempFolder folder;
  const auto expect = [&](std::vector<std::string> arguments, int code, const char* what) {
    arguments.insert(arguments.begin(), {"perplexity", kModel});
    const auto run = RunQuern(arguments);
    EXPECT_EQ(run.code, code) << run.err;
    EXPECT_THAT(run.err, HasSubstr(what));
    EXPECT_EQ(run.out, "");
  };
  const std::string ids = RandomIds(folder);
  expect({}, 2, "-f TEXT");
  expect({"--token-ids", ids, "-c", "200"}, 2, "two windows");
  expect({"--token-ids", ids, "-c", "1"}, 2, "not a context");
  expect({"--token-ids", ids, "-c", "32", "--memory", "1M"}, 2, "--memory");
  expect({"--token-ids", folder.Write("text", "1 2 x").string()}, 3, "not a token id");
  expect({"--token-ids", folder.Write("huge", "1 99999999999").string()}, 3, "not a token id");
  expect({"--token-ids", RandomIds(folder, 300, 9000), "-c", "32"}, 3, "vocabulary");
  expect({"--token-ids", (folder.path() / "none").string()}, 3, "none");
  expect({"-f", folder.Write("bad", "good \xff bad").string(), "--token-ids", ids}, 3, "UTF-8");
}

TEST(EvaluationCommands, CheckTheTokenThatStandsWhereAWindowBegins) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 96; ++i) text += i == 32 ? "9000 " : "7 ";  // under the second window's BOS
  const std::string ids = folder.Write("ids", text).string();
  const std::string base = (folder.path() / "base").string();
  const std::string imatrix = (folder.path() / "imatrix").string();
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"perplexity", kModel},
                                             {"perplexity", kModel, "--kl-divergence-base", base},
                                             {"drift", kModel, kModel},
                                             {"imatrix", kModel, "-o", imatrix},
                                             {"imatrix", kModel, "-o", imatrix, "--chunk", "1"}}) {
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--token-ids", ids, "-c", "32"});
    const auto run = RunQuern(all);
    EXPECT_EQ(run.code, 3) << arguments.front();
    EXPECT_THAT(run.err, HasSubstr("token id 9000"));
    EXPECT_THAT(run.err, HasSubstr("position 32"));
    EXPECT_EQ(run.out, "");
  }
  EXPECT_FALSE(fs::exists(base));
  EXPECT_FALSE(fs::exists(imatrix));
}

TEST(PerplexityCommand, RefusesAnArchitectureThatItCannotRunBeforeWorkStarts) {
  const TempFolder folder;
  const std::string gguf = Quantized(folder, "F32");
  std::fstream file(gguf, std::ios::in | std::ios::out | std::ios::binary);
  std::string head(4096, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  const size_t at = head.find("general.architecture") + 20 + 4 + 8;
  ASSERT_EQ(head.substr(at, 5), "llama");
  file.seekp(static_cast<std::streamoff>(at));
  file.write("mambo", 5);
  file.close();
  const auto run = RunQuern({"perplexity", gguf, "--token-ids", RandomIds(folder), "-c", "32"});
  EXPECT_EQ(run.code, 5);
  EXPECT_THAT(run.err, HasSubstr("mambo"));
}

TEST(DriftCommand, ComparesSeveralCandidatesInOneRun) {
  const TempFolder folder;
  const std::string q8 = Quantized(folder, "Q8_0"), q2 = Quantized(folder, "Q2_K");
  const auto run = RunQuern(
      {"drift", kModel, q8, q2, "--token-ids", RandomIds(folder), "-c", "32", "--json", "-q"});
  ASSERT_EQ(run.code, 0) << run.err;
  const Json json = ParseJson(run.out, "drift");
  EXPECT_GT(json.at("reference").at("perplexity"), 1);
  ASSERT_EQ(json.at("candidates").size(), 2u);
  EXPECT_EQ(json["candidates"][0].at("file"), q8);
  for (const Json& candidate : json["candidates"]) {
    const Json& kld = candidate.at("kld");
    EXPECT_GT(kld.at("mean"), 0);
    EXPECT_LE(kld.at("median"), kld.at("p99"));
    EXPECT_LE(kld.at("p99"), kld.at("p99_9"));
    EXPECT_LE(kld.at("p99_9"), kld.at("max"));
    EXPECT_GT(candidate.at("ppl_ratio"), 0.5);
    EXPECT_GT(candidate.at("top1_agreement"), 0.5);
  }
  EXPECT_LT(json["candidates"][0]["kld"]["mean"], json["candidates"][1]["kld"]["mean"]);
  const auto text = RunQuern(
      {"drift", kModel, q8, "--token-ids", RandomIds(folder), "-c", "32", "--max-kld", "0.1"});
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.out, HasSubstr("same top token"));
}

TEST(DriftCommand, ExitsWithOneAndNamesTheFigureThatCrossesItsThreshold) {
  const TempFolder folder;
  const std::string q2 = Quantized(folder, "Q2_K"), ids = RandomIds(folder);
  const auto drift = [&](const char* option, const char* limit) {
    return RunQuern({"drift", kModel, q2, "--token-ids", ids, "-c", "32", "-q", option, limit});
  };
  for (const auto& [option, limit, figure] :
       {std::tuple{"--max-kld", "0.0001", "mean KLD"},
        std::tuple{"--max-ppl-ratio", "0.5", "perplexity ratio"},
        std::tuple{"--min-top1", "0.9999", "top-1 agreement"},
        std::tuple{"--min-top1", "99.99", "top-1 agreement"}}) {
    const auto run = drift(option, limit);
    EXPECT_EQ(run.code, 1) << option;
    EXPECT_THAT(run.err, HasSubstr(figure));
    EXPECT_THAT(run.out, HasSubstr("same top token"));  // the figures are there all the same
  }
  EXPECT_EQ(drift("--max-kld", "100").code, 0);
  EXPECT_EQ(drift("--max-kld", "-1").code, 2);
}

// A Llama whose weights are a hole in a sparse file: 8 layers, 738 MB in bf16.
void WriteSparseModel(const fs::path& folder) {
  Json config = ParseJson(testing::Contents(TestData("kjv-4m/config.json")), "config");
  config["hidden_size"] = 2048;
  config["intermediate_size"] = 5632;
  config["num_hidden_layers"] = 8;
  config["num_attention_heads"] = 16;
  config["num_key_value_heads"] = 4;
  config.erase("head_dim");
  std::ofstream(folder / "config.json") << config.dump();
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"}) {
    fs::copy_file(TestData(std::string("kjv-4m/") + name), folder / name);
  }
  Json header;
  uint64_t offset = 0;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape) {
    uint64_t bytes = 2;
    for (const uint64_t dim : shape) bytes *= dim;
    header[name] = {
        {"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  };
  add("model.embed_tokens.weight", {2048, 2048});
  for (int i = 0; i < 8; ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".";
    add(p + "input_layernorm.weight", {2048});
    add(p + "mlp.down_proj.weight", {2048, 5632});
    add(p + "mlp.gate_proj.weight", {5632, 2048});
    add(p + "mlp.up_proj.weight", {5632, 2048});
    add(p + "post_attention_layernorm.weight", {2048});
    add(p + "self_attn.k_proj.weight", {512, 2048});
    add(p + "self_attn.o_proj.weight", {2048, 2048});
    add(p + "self_attn.q_proj.weight", {2048, 2048});
    add(p + "self_attn.v_proj.weight", {512, 2048});
  }
  add("model.norm.weight", {2048});
  add("lm_head.weight", {2048, 2048});
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  const fs::path path = folder / "model.safetensors";
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << text;
  file.close();
  fs::resize_file(path, 8 + length + offset);
}

TEST(SlowPerplexityCommand, KeepsAModelFourTimesTheMemoryWithinIt) {
  const TempFolder folder;
  WriteSparseModel(folder.path());
  constexpr long kMemoryMiB = 170;
  ASSERT_GT(fs::file_size(folder.path() / "model.safetensors"), uint64_t{4 * kMemoryMiB} << 20);
  const auto run =
      RunQuern({"perplexity", folder.path().string(), "--token-ids", RandomIds(folder), "-c", "64",
                "--memory", std::to_string(kMemoryMiB) + "M", "--json", "-q", "--threads", "2"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_NEAR(ParseJson(run.out, "perplexity").at("perplexity").get<double>(), 2048, 0.01);
  EXPECT_LE(run.peak_kib, kMemoryMiB * 1024);
}

}  // namespace
}  // namespace quern
