#include "converters/legacy_ggml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "converters/converter.h"
#include "converters/plan.h"
#include "formats/reader.h"
#include "tests/support/fixtures.h"
#include "tests/support/ggml_files.h"

namespace quern::converters {
namespace {

using testing::ErrorOf;
using testing::GgmlFile;
using testing::GgmlLlama;
using ::testing::HasSubstr;
using testing::TempFolder;
using testing::TestData;

class LegacyGgml : public ::testing::Test {
 protected:
  const ModelSource& Open(const GgmlFile& file) {
    source_ = formats::OpenModel(folder_.Write("old.bin", file.Build()));
    return *source_;
  }
  OutputModel ConvertFile(const GgmlFile& file, const ConvertOptions& options = {}) {
    return Convert(Open(file), options);
  }
  ErrorCode CodeOf(const GgmlFile& file, const ConvertOptions& options = {}) {
    return ErrorOf([&] { ConvertFile(file, options); }).code();
  }

  TempFolder folder_;
  std::unique_ptr<ModelSource> source_;
};

TEST_F(LegacyGgml, GivesTheKeysOfTheOldConverter) {
  const Metadata metadata = ConvertFile(GgmlLlama("tjgg", 3)).metadata;
  EXPECT_EQ(metadata.GetString("general.architecture"), "llama");
  const std::pair<const char*, int64_t> expected[] = {{"llama.context_length", 2048},
                                                      {"llama.embedding_length", 64},
                                                      {"llama.block_count", 2},
                                                      {"llama.feed_forward_length", 96},
                                                      {"llama.rope.dimension_count", 16},
                                                      {"llama.attention.head_count", 4},
                                                      {"llama.attention.head_count_kv", 2},
                                                      {"general.file_type", 0},
                                                      {"tokenizer.ggml.bos_token_id", 1},
                                                      {"tokenizer.ggml.eos_token_id", 2},
                                                      {"tokenizer.ggml.unknown_token_id", 0}};
  for (const auto& [key, value] : expected) EXPECT_EQ(metadata.GetInteger(key), value) << key;
  EXPECT_EQ(*metadata.Get<float>("llama.attention.layer_norm_rms_epsilon"), 5e-6f);
}

TEST_F(LegacyGgml, OptionsGiveWhatTheFileLacks) {
  const ConvertOptions options{.ggml = {.gqa = 2, .eps = 1e-5, .context_length = 4096}};
  const OutputModel model = ConvertFile(GgmlLlama("tjgg", 3), options);
  EXPECT_EQ(model.metadata.GetInteger("llama.context_length"), 4096);
  EXPECT_EQ(*model.metadata.Get<float>("llama.attention.layer_norm_rms_epsilon"), 1e-5f);
}

TEST_F(LegacyGgml, TypesTheVocabularyAsTheOldConverter) {
  const Metadata metadata = ConvertFile(GgmlLlama("tjgg", 3)).metadata;
  const auto& tokens =
      std::get<std::vector<std::string>>(metadata.Get<Array>("tokenizer.ggml.tokens")->items);
  const auto& types =
      std::get<std::vector<int32_t>>(metadata.Get<Array>("tokenizer.ggml.token_type")->items);
  ASSERT_EQ(tokens.size(), 300u);
  EXPECT_EQ(tokens[0], "<unk>");
  EXPECT_EQ(tokens[3], "<0x00>");
  EXPECT_EQ(tokens[258], "<0xFF>");
  EXPECT_EQ(tokens[299], "\u2581word299");
  EXPECT_EQ((std::vector<int32_t>{types[0], types[1], types[3], types[299]}),
            (std::vector<int32_t>{2, 3, 6, 1}));
}

TEST_F(LegacyGgml, KeepsEveryTensorsTypeAndBytes) {
  const GgmlFile file = GgmlLlama("tjgg", 3, 8);
  const OutputModel model = ConvertFile(file);
  ASSERT_EQ(model.tensors.size(), file.tensors.size());
  const WritePlan plan = MakePlan(model, {});
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    const OutputTensor& tensor = model.tensors[plan.tensors[i].tensor];
    EXPECT_EQ(plan.tensors[i].type, tensor.value.type);
    std::vector<uint8_t> bytes(plan.tensors[i].bytes);
    EvaluateRows(*source_, tensor.value, 0, tensor.value.rows(), bytes);
    EXPECT_TRUE(std::string(bytes.begin(), bytes.end()) == file.tensors[i].data) << tensor.name;
  }
  EXPECT_EQ(model.tensors[3].name, "blk.0.attn_q.weight");
  EXPECT_EQ(plan.metadata.GetInteger("general.file_type"), 7);
}

TEST_F(LegacyGgml, TakesTheVocabularyFromElsewhere) {
  ConvertOptions options;
  options.vocab_from = TestData("kjv-4m");
  const auto size = [](const Metadata& metadata) {
    return metadata.Get<Array>("tokenizer.ggml.tokens")->size();
  };
  EXPECT_EQ(CodeOf(GgmlLlama("lmgg", {}), options), ErrorCode::kMismatch);
  const auto folder = formats::OpenModel(TestData("kjv-4m"));
  const Metadata own = Convert(*folder, {}).metadata;
  const auto rows = static_cast<uint32_t>(size(own));
  const GgmlFile file = GgmlLlama("lmgg", {}, 0, {.vocabulary = rows});
  for (const auto& from : {TestData("kjv-4m"), TestData("kjv-4m/tokenizer.model")}) {
    options.vocab_from = from;
    const Metadata metadata = ConvertFile(file, options).metadata;
    EXPECT_EQ(*metadata.Find("tokenizer.ggml.tokens"), *own.Find("tokenizer.ggml.tokens"));
    EXPECT_EQ(*metadata.Find("tokenizer.ggml.scores"), *own.Find("tokenizer.ggml.scores"));
  }
  options.vocab_from = folder_.Write("vocabulary.bin", GgmlLlama("tjgg", 3).Build());
  EXPECT_EQ(size(ConvertFile(GgmlLlama("lmgg", {}), options).metadata), 300u);
}

TEST_F(LegacyGgml, RefusesWhatContradictsTheTensors) {
  EXPECT_EQ(CodeOf(GgmlLlama("tjgg", 3), {.ggml = {.gqa = 8}}), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf(GgmlLlama("tjgg", 3), {.ggml = {.gqa = 0}}), ErrorCode::kBadValue);
  EXPECT_EQ(CodeOf(GgmlLlama("tjgg", 3), {.ggml = {.eps = -1}}), ErrorCode::kUsage);
  GgmlFile file = GgmlLlama("tjgg", 3);
  file.tensors.pop_back();
  EXPECT_EQ(CodeOf(file), ErrorCode::kMissing);
  file = GgmlLlama("tjgg", 3);
  file.tensors[4].dims = {64, 31};
  file.tensors[4].data.resize(64 * 31 * 4);
  EXPECT_EQ(CodeOf(file), ErrorCode::kBadShape);
  file = GgmlLlama("tjgg", 3);
  file.tensors[0].name = "gpt_neox.embed_in.weight";
  EXPECT_EQ(CodeOf(file), ErrorCode::kUnexpected);
}

TEST_F(LegacyGgml, RefusesModelsThatItOnlyInspects) {
  EXPECT_EQ(CodeOf(testing::GgmlWhisper()), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(testing::GgmlRwkv()), ErrorCode::kUnsupported);
}

TEST_F(LegacyGgml, RefusesItsOptionsForOtherSources) {
  const auto folder = formats::OpenModel(TestData("kjv-4m"));
  EXPECT_QUERN_ERROR(Convert(*folder, {.ggml = {.eps = 1e-5}}), ErrorCode::kUsage);
}

TEST_F(LegacyGgml, ConvertsARealVocabulary) {
  QUERN_SHARED_OR_SKIP(shared, "fixtures/ggml-legacy");
  const auto source = formats::OpenModel(shared / "ggml-vocab.ggjt.bin");
  EXPECT_EQ(ErrorOf([&] { Convert(*source, {}); }).code(), ErrorCode::kMissing);
  const OutputModel model = Convert(*source, {.vocab_only = true});
  EXPECT_EQ(model.metadata.Get<Array>("tokenizer.ggml.tokens")->size(), 32000u);
}

}  // namespace
}  // namespace quern::converters
