#include "converters/naming.h"

#include <gtest/gtest.h>

#include "converters/model_id.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using testing::TempFolder;

struct IdCase {
  const char* id;
  int64_t parameters;
  ModelIdParts expected;  // name, organization, basename, finetune, version, size label
};

// Names and what llama.cpp finds in them: gguf-py/tests/test_metadata.py (facts).
const IdCase kIds[] = {
    {"Mistral/Mixtral-8x7B-Instruct-v0.1",
     0,
     {"Mixtral-8x7B-Instruct-v0.1", "Mistral", "Mixtral", "Instruct", "v0.1", "8x7B"}},
    {"Mixtral-8x7B-Instruct-v0.1",
     0,
     {"Mixtral-8x7B-Instruct-v0.1", std::nullopt, "Mixtral", "Instruct", "v0.1", "8x7B"}},
    {"Mixtral-8x7B-Instruct",
     0,
     {"Mixtral-8x7B-Instruct", std::nullopt, "Mixtral", "Instruct", std::nullopt, "8x7B"}},
    {"Mixtral-8x7B-v0.1",
     0,
     {"Mixtral-8x7B-v0.1", std::nullopt, "Mixtral", std::nullopt, "v0.1", "8x7B"}},
    {"Mixtral-8x7B",
     0,
     {"Mixtral-8x7B", std::nullopt, "Mixtral", std::nullopt, std::nullopt, "8x7B"}},
    {"Mixtral-v0.1",
     0,
     {"Mixtral-v0.1", std::nullopt, "Mixtral", std::nullopt, "v0.1", std::nullopt}},
    {"Mixtral",
     0,
     {"Mixtral", std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt}},
    {"NousResearch/Meta-Llama-3-8B",
     0,
     {"Meta-Llama-3-8B", "NousResearch", "Meta-Llama-3", std::nullopt, std::nullopt, "8B"}},
    {"Qwen1.5-MoE-A2.7B-Chat",
     0,
     {"Qwen1.5-MoE-A2.7B-Chat", std::nullopt, "Qwen1.5-MoE", "Chat", std::nullopt, "A2.7B"}},
    {"Qwen2-57B-A14B-Instruct",
     0,
     {"Qwen2-57B-A14B-Instruct", std::nullopt, "Qwen2", "Instruct", std::nullopt, "57B-A14B"}},
    {"microsoft/Phi-3-mini-4k-instruct",
     4000000000,
     {"Phi-3-mini-4k-instruct", "microsoft", "Phi-3", "4k-instruct", std::nullopt, "mini"}},
    {"delphi-suite/stories-llama2-50k",
     50000,
     {"stories-llama2-50k", "delphi-suite", "stories-llama2", std::nullopt, std::nullopt, "50K"}},
    {"DeepSeek-Coder-V2-Lite-Instruct",
     0,
     {"DeepSeek-Coder-V2-Lite-Instruct", std::nullopt, "DeepSeek-Coder-V2-Lite", "Instruct",
      std::nullopt, std::nullopt}},
    {"crestf411/daybreak-kunoichi-2dpo-7b",
     0,
     {"daybreak-kunoichi-2dpo-7b", "crestf411", "daybreak-kunoichi", "2dpo", std::nullopt, "7B"}},
    {"Qwen2-0.5B-Instruct",
     0,
     {"Qwen2-0.5B-Instruct", std::nullopt, "Qwen2", "Instruct", std::nullopt, "0.5B"}},
    {"smallcloudai/Refact-1_6B-fim",
     0,
     {"Refact-1_6B-fim", "smallcloudai", "Refact", "fim", std::nullopt, "1.6B"}},
    {"UCLA-AGI/Gemma-2-9B-It-SPPO-Iter3",
     0,
     {"Gemma-2-9B-It-SPPO-Iter3", "UCLA-AGI", "Gemma-2", "It-SPPO", "Iter3", "9B"}},
    {"NousResearch/Hermes-2-Theta-Llama-3-8B",
     0,
     {"Hermes-2-Theta-Llama-3-8B", "NousResearch", "Hermes-2-Theta-Llama-3", std::nullopt,
      std::nullopt, "8B"}},
    {"SeaLLMs/SeaLLMs-v3-7B-Chat",
     0,
     {"SeaLLMs-v3-7B-Chat", "SeaLLMs", "SeaLLMs-v3", "Chat", std::nullopt, "7B"}},
    {"internlm/internlm2_5-7b-chat-1m",
     7000000000,
     {"internlm2_5-7b-chat-1m", "internlm", "internlm2_5", "chat-1m", std::nullopt, "7B"}},
    {"pszemraj/jamba-900M-v0.13-KIx2",
     0,
     {"jamba-900M-v0.13-KIx2", "pszemraj", "jamba", "KIx2", "v0.13", "900M"}},
    {"state-spaces/mamba-2.8b-hf",
     0,
     {"mamba-2.8b-hf", "state-spaces", "mamba", "hf", std::nullopt, "2.8B"}},
    {"abacaj/llama-161M-100B",
     161000000,
     {"llama-161M-100B", "abacaj", "llama", "100b", std::nullopt, "161M"}},
    {"SparseLLM/relu-100B",
     1340000000,
     {"relu-100B", "SparseLLM", "relu", "100b", std::nullopt, std::nullopt}},
    {"bigscience/bloom-7b1-petals",
     0,
     {"bloom-7b1-petals", "bigscience", "bloom", "petals", std::nullopt, "7.1B"}},
    {"MaziyarPanahi/GreenNode-mini-7B-multilingual-v1olet-Mistral-7B-Instruct-v0.1",
     0,
     {"GreenNode-mini-7B-multilingual-v1olet-Mistral-7B-Instruct-v0.1", "MaziyarPanahi",
      "GreenNode-mini", "multilingual-v1olet-Mistral-Instruct", "v0.1", "7B"}},
    {"mistralai/Mistral-Nemo-Instruct-2407",
     0,
     {"Mistral-Nemo-Instruct-2407", "mistralai", "Mistral-Nemo", "Instruct", "2407", std::nullopt}},
    {"deepseek-ai/DeepSeek-V2-Chat-0628",
     0,
     {"DeepSeek-V2-Chat-0628", "deepseek-ai", "DeepSeek-V2", "Chat", "0628", std::nullopt}},
    {"OpenGVLab/Mini-InternVL-Chat-2B-V1-5",
     0,
     {"Mini-InternVL-Chat-2B-V1-5", "OpenGVLab", "Mini-InternVL", "Chat", "V1-5", "2B"}},
    {"jondurbin/bagel-dpo-2.8b-v0.2",
     0,
     {"bagel-dpo-2.8b-v0.2", "jondurbin", "bagel-dpo", std::nullopt, "v0.2", "2.8B"}},
    {"voxmenthe/SFR-Iterative-DPO-LLaMA-3-8B-R-unquantized",
     0,
     {"SFR-Iterative-DPO-LLaMA-3-8B-R-unquantized", "voxmenthe", "SFR-Iterative-DPO-LLaMA-3",
      "R-unquantized", std::nullopt, "8B"}},
    {"microsoft/Florence-2-base",
     0,
     {"Florence-2-base", "microsoft", std::nullopt, std::nullopt, std::nullopt, std::nullopt}},
    {"mistralai/-Mistral--Nemo-Base-2407-",
     0,
     {"-Mistral--Nemo-Base-2407-", "mistralai", "Mistral-Nemo-Base", std::nullopt, "2407",
      std::nullopt}},
    {"Llama-3-Instruct-abliteration-LoRA-8B",
     0,
     {"Llama-3-Instruct-abliteration-LoRA-8B", std::nullopt, "Llama-3",
      "Instruct-abliteration-LoRA", std::nullopt, "8B"}},
    {"Llama-3-Instruct-abliteration-LoRA-8B",
     -1234,
     {"Llama-3-Instruct-abliteration-LoRA-8B", std::nullopt, "Llama-3", "Instruct-abliteration",
      std::nullopt, "8B"}},
};

TEST(ModelId, FindsTheComponentsThatLlamaCppFinds) {
  for (const auto& [id, parameters, expected] : kIds) {
    EXPECT_EQ(SplitModelId(id, parameters), expected) << id;
  }
}

TEST(ModelId, KeepsTheTotalSizeOfAMixtureThatNamesItsActiveSize) {
  const auto parts = SplitModelId("Gemma-26B-A4B-it", 4'000'000'000);
  EXPECT_EQ(parts.size_label, "26B-A4B");
}

TEST(ModelId, SurvivesHostileNames) {
  EXPECT_EQ(SplitModelId("").name, "");
  EXPECT_EQ(SplitModelId("a b-7B").basename, std::nullopt);
  const std::string digits(1 << 20, '1');  // a regular expression would overflow the stack
  EXPECT_EQ(SplitModelId("a-" + digits).name, "a-" + digits);
  for (const char* id :
       {"-", "---", "/", "//", "1", "m-1", "m-b", "m-7B-1", "m-7B-", ".", "x-\xff"}) {
    SplitModelId(id, 7'000'000'000);
    SplitModelId(id, -7);
  }
}

TEST(ModelId, TitlesKeepVersionsAndAcronyms) {
  EXPECT_EQ(IdToTitle("Mixtral-8x7B-Instruct-v0.1"), "Mixtral 8x7B Instruct v0.1");
  EXPECT_EQ(IdToTitle("hermes-2-pro-llama-3-8b-DPO"), "Hermes 2 Pro Llama 3 8b DPO");
  EXPECT_EQ(IdToTitle("pythia-410m"), "Pythia 410m");
  EXPECT_EQ(IdToTitle("v2x llama2c"), "V2X Llama2C");
}

TEST(SizeLabel, HasAtLeastTwoSignificantDigits) {
  EXPECT_EQ(SizeLabel({.total = 134'515'008}), "135M");
  EXPECT_EQ(SizeLabel({.total = 1'540'000'000}), "1.5B");
  EXPECT_EQ(SizeLabel({.total = 6'738'415'616}), "6.7B");
  EXPECT_EQ(SizeLabel({.total = 70'553'706'496}), "71B");
  EXPECT_EQ(SizeLabel({.total = 260'032}), "260K");
  EXPECT_EQ(SizeLabel({.total = 1'000'000}), "1000K");
  EXPECT_EQ(SizeLabel({.total = 46'702'792'704,
                       .shared = 1'604'652'032,
                       .expert = 5'637'144'576,
                       .expert_count = 8}),
            "8x7.2B");
}

Metadata General(const FakeSource& source, const NamingOptions& options = {}) {
  Metadata metadata;
  AddGeneralMetadata(source, options, {.total = 8'000'000'000}, metadata);
  return metadata;
}

TEST(GeneralMetadata, TakesTheFolderNameWhereNothingElseNamesTheModel) {
  const Metadata metadata = General(FakeSource(Json{}, "/models/hermes-2-pro-llama-3-8b-DPO"));
  EXPECT_EQ(metadata.GetString("general.type"), "model");
  EXPECT_EQ(metadata.GetString("general.name"), "Hermes 2 Pro Llama 3 8b DPO");
  EXPECT_EQ(metadata.GetString("general.basename"), "hermes-2-pro-llama-3");
  EXPECT_EQ(metadata.GetString("general.finetune"), "DPO");
  EXPECT_EQ(metadata.GetString("general.size_label"), "8B");
  EXPECT_EQ(DefaultFileName(metadata, "Q4_K_M", ""), "hermes-2-pro-llama-3-8B-DPO-Q4_K_M.gguf");
}

TEST(GeneralMetadata, PrefersOriginOverFolderButNotPaths) {
  const FakeSource origin(Json{{"_name_or_path", "meta-llama/Llama-3-8B"}}, "/models/x");
  EXPECT_EQ(General(origin).GetString("general.name"), "Llama 3 8B");
  EXPECT_EQ(General(origin).GetString("general.organization"), "Meta Llama");
  const FakeSource path(Json{{"_name_or_path", "/home/someone/llama-7b/"}}, "/models/x-y");
  EXPECT_EQ(General(path).GetString("general.name"), "X Y");
}

TEST(GeneralMetadata, ReadsTheModelCardInLlamaCppsOrder) {
  TempFolder folder;
  FakeSource source(Json{}, "/models/card");
  source.side_files_for_test()["README.md"] = folder.Write("README.md", R"(---
license: other
license_name: llama3
license_link: LICENSE
language: [en, de]
tags: [chat]
pipeline_tag: text-generation
base_model: EmbeddedLLM/Mistral-7B-Merge-14-v0
datasets:
- https://huggingface.co/teknium/OpenHermes-2.5
model_creator: Someone
---
# Card
)");
  const Metadata metadata = General(source);
  std::vector<std::string> keys;
  for (const auto& [key, value] : metadata.entries()) keys.push_back(key);
  EXPECT_EQ(keys,
            (std::vector<std::string>{
                "general.type", "general.name", "general.author", "general.size_label",
                "general.license", "general.license.name", "general.license.link",
                "general.base_model.count", "general.base_model.0.name",
                "general.base_model.0.version", "general.base_model.0.organization",
                "general.base_model.0.repo_url", "general.dataset.count", "general.dataset.0.name",
                "general.dataset.0.version", "general.dataset.0.organization",
                "general.dataset.0.repo_url", "general.tags", "general.languages"}));
  EXPECT_EQ(metadata.GetString("general.base_model.0.name"), "Mistral 7B Merge 14 v0");
  EXPECT_EQ(metadata.GetString("general.base_model.0.version"), "14-v0");
  EXPECT_EQ(metadata.GetString("general.dataset.0.organization"), "Teknium");
  EXPECT_EQ(*metadata.Get<Array>("general.tags"),
            (Array{std::vector<std::string>{"chat", "text-generation"}}));
  EXPECT_EQ(*metadata.Get<uint32_t>("general.base_model.count"), 1u);
}

TEST(GeneralMetadata, ReadsSamplingWithItsTypes) {
  TempFolder folder;
  FakeSource source(Json{}, "/models/s");
  source.side_files_for_test()["generation_config.json"] = folder.Write(
      "generation_config.json",
      R"({"temperature": 1, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.1, "min_p": null})");
  const Metadata metadata = General(source);
  EXPECT_EQ(*metadata.Get<int32_t>("general.sampling.top_k"), 20);
  EXPECT_EQ(*metadata.Get<float>("general.sampling.top_p"), 0.95f);
  EXPECT_EQ(*metadata.Get<float>("general.sampling.temp"), 1.0f);
  EXPECT_FALSE(metadata.Has("general.sampling.min_p"));
  EXPECT_FALSE(metadata.Has("general.sampling.penalty_repeat"));     // as llama.cpp: another name
  EXPECT_EQ(metadata.entries()[1].first, "general.sampling.top_k");  // before general.name
  source.side_files_for_test()["generation_config.json"] =
      folder.Write("generation_config.json", R"({"top_k": 2.5})");
  EXPECT_QUERN_ERROR(General(source), ErrorCode::kBadValue);
}

TEST(GeneralMetadata, OptionsWin) {
  TempFolder folder;
  const FakeSource source(Json{{"_name_or_path", "a/b-7B"}}, "/models/x");
  NamingOptions options;
  options.metadata_file = folder.Write(
      "m.json", R"({"general.name": "File", "general.author": "Me", "general.version": null,
                    "general.base_models": [{"name": "Base", "doi": "10/1"}]})");
  EXPECT_EQ(General(source, options).GetString("general.name"), "File");
  EXPECT_EQ(General(source, options).GetString("general.author"), "Me");
  EXPECT_EQ(General(source, options).GetString("general.base_model.0.doi"), "10/1");
  options.model_name = "Option";
  EXPECT_EQ(General(source, options).GetString("general.name"), "Option");
}

TEST(DefaultFileName, FallsBackAndNeverLeavesTheFolder) {
  Metadata metadata;
  EXPECT_EQ(DefaultFileName(metadata, "F16", "model dir"), "model-dir-F16.gguf");
  EXPECT_EQ(DefaultFileName(metadata, "F16", ""), "ggml-model-F16.gguf");
  metadata.Set("general.name", std::string("../../etc/x y"));
  metadata.Set("general.version", std::string("v1/2"));
  EXPECT_EQ(DefaultFileName(metadata, "Q8_0", ""), "..-..-etc-x-y-v1-2-Q8_0.gguf");
}

}  // namespace
}  // namespace quern::converters
