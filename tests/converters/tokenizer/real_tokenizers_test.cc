// Real tokenizers whose pre-tokenizer llama.cpp knows by its hash: a wrong id anywhere in the check
// text would miss it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/tokenizer_metadata.h"
#include "tests/converters/tokenizer/folder_source_testing.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

namespace fs = std::filesystem;

struct Real {
  std::string name;
  std::string folder;             // below shared/fixtures
  std::set<std::string> without;  // files that are taken away
  std::string model_type;         // config.json; it also gives "pre" its class
  std::string model;              // expected tokenizer.ggml.model
  std::string pre;                // expected tokenizer.ggml.pre
};

std::vector<Real> Reals() {
  return {
      {"gpt2_slow_files", "tokenizers/gpt2", {}, "gpt2", "gpt2", "gpt-2"},
      {"gpt2_tiny", "hf/gpt2-tiny-0.8M", {}, "gpt2", "gpt2", "gpt-2"},
      {"gpt2_tiny_slow_files", "hf/gpt2-tiny-0.8M", {"tokenizer.json"}, "gpt2", "gpt2", "gpt-2"},
      {"qwen3_slow_files", "tokenizers/qwen3", {}, "qwen3", "gpt2", "qwen2"},
      {"phi_slow_files", "tokenizers/phi-1.5-2", {"tokenizer.json"}, "phi", "gpt2", "phi-2"},
      {"smollm2", "tokenizers/smollm2", {}, "llama", "gpt2", "smollm"},
      {"pythia", "tokenizers/pythia-410m", {}, "gpt_neox", "gpt2", "olmo"},
      {"roberta", "tokenizers/roberta", {}, "roberta", "gpt2", "roberta-bpe"},
      {"llama2", "tokenizers/llama-2-7b", {}, "llama", "llama", "default"},
      {"llama2_json", "tokenizers/llama-2-7b", {"tokenizer.model"}, "llama", "llama", "default"},
      {"mistral_json", "tokenizers/mistral-7b", {"tokenizer.model"}, "mistral", "llama", "default"},
      {"vicuna",
       "tokenizers/quant-configs/wizard-vicuna-30b-gptq",
       {},
       "llama",
       "llama",
       "default"},
  };
}

class RealTokenizersSlow : public ::testing::TestWithParam<Real> {};

TEST_P(RealTokenizersSlow, AreRecognized) {
  const Real& real = GetParam();
  const auto folder = testing::Shared("fixtures/" + real.folder);
  if (!folder) GTEST_SKIP() << "no shared/fixtures beside this clone";
  const testing::TempFolder copy;
  for (const auto& entry : fs::directory_iterator(*folder)) {
    const std::string name = entry.path().filename();
    if (!entry.is_regular_file() || real.without.contains(name) || name == "config.json" ||
        name.ends_with(".safetensors"))
      continue;
    fs::create_symlink(fs::absolute(entry.path()), copy.path() / name);
  }
  copy.Write("config.json", fmt::format(R"({{"model_type": "{}"}})", real.model_type));
  Metadata metadata;
  std::vector<std::string> notes;
  AddTokenizerMetadata(testing::FolderSource(copy.path()), {.kind = "auto"}, metadata, notes);
  EXPECT_EQ(metadata.GetString("tokenizer.ggml.model"), real.model);
  EXPECT_EQ(metadata.GetString("tokenizer.ggml.pre"), real.pre);
  EXPECT_THAT(notes, ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Folders, RealTokenizersSlow, ::testing::ValuesIn(Reals()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace quern::converters
