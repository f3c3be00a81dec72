#include "converters/tokenizer/tokenizer_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "converters/tokenizer/pre_forms.h"
#include "converters/tokenizer/pre_rules.h"
#include "converters/tokenizer/tokenizer_metadata.h"
#include "formats/huggingface/sentencepiece.h"
#include "tests/converters/tokenizer/folder_source_testing.h"
#include "tests/converters/tokenizer/small_vocabulary_testing.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RankedVocabulary;
using testing::ScoredVocabulary;
using testing::SmallToken;
using testing::TempFolder;

struct Exported {
  Json config;
  std::vector<std::string> notes;
  Metadata back;  // what the converter makes of the files
};

// Writes the files to a folder and reads them as a converter does.
Exported ThereAndBack(const Metadata& metadata, const std::string& kind = "auto") {
  Exported result;
  result.config = {{"architectures", {"X"}}};
  if (const auto* tokens = metadata.Get<Array>("tokenizer.ggml.tokens")) {
    result.config["vocab_size"] = tokens->size();
  }
  const TempFolder folder;
  for (const SideFile& file : ExportTokenizer(metadata, result.config, result.notes)) {
    folder.Write(file.name, std::string_view(file.content));
  }
  folder.Write("config.json", result.config.dump());
  const testing::FolderSource source(folder.path());
  std::vector<std::string> ignored;
  AddTokenizerMetadata(source, {.kind = kind}, result.back, ignored);
  return result;
}

void ExpectSame(const Metadata& expected, const Metadata& found) {
  for (const auto& [key, value] : expected.entries()) {
    const Value* other = found.Find(key);
    ASSERT_NE(other, nullptr) << key;
    EXPECT_TRUE(*other == value) << key;
  }
  for (const auto& [key, value] : found.entries()) EXPECT_TRUE(expected.Has(key)) << key;
}

Metadata SmallBpe(const std::string& pre) {
  Metadata metadata = RankedVocabulary(pre, {"h e", "he l", "\u0120 w"},
                                       {{"<|begin|>", TokenType::kControl},
                                        {"<|end|>", TokenType::kControl},
                                        {"   ", TokenType::kUserDefined},
                                        {"\u00e9t\u00e9", TokenType::kControl},
                                        {"[PAD263]", TokenType::kUnused}});
  metadata.Remove("tokenizer.ggml.scores");
  return metadata;
}

class EveryPre : public ::testing::TestWithParam<PreRule> {};

TEST_P(EveryPre, ComesBackAsANameThatSplitsEqually) {
  const PreRule& rule = GetParam();
  std::string_view names = rule.names;
  while (!names.empty()) {
    const size_t end = std::min(names.find(' '), names.size());
    const std::string name(names.substr(0, end));
    names.remove_prefix(std::min(end + 1, names.size()));
    const Metadata metadata = SmallBpe(name);
    if (rule.raw_text) {
      EXPECT_FALSE(JsonOfPre(name));
      continue;
    }
    const Exported exported = ThereAndBack(metadata);
    const auto pre = exported.back.GetString("tokenizer.ggml.pre");
    ASSERT_TRUE(pre) << name;
    const PreRule* back = FindPreRule(*pre);
    ASSERT_NE(back, nullptr) << name;
    EXPECT_TRUE(std::equal(back->patterns.begin(), back->patterns.end(), rule.patterns.begin(),
                           rule.patterns.end()))
        << name << " became " << *pre;
    EXPECT_EQ(back->ignore_merges, rule.ignore_merges) << name << " became " << *pre;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, EveryPre, ::testing::ValuesIn(PreRules().begin(), PreRules().end()),
                         [](const auto& param) { return "rule" + std::to_string(param.index); });

TEST(TokenizerExport, FormsAreRecognizedByTheirOwnNames) {
  for (const char* name :
       {"gpt-2", "olmo", "smollm", "command-r", "dbrx", "llama-bpe", "qwen2", "tekken", "gpt-4o",
        "deepseek-coder", "deepseek-v3", "falcon", "bloom"}) {
    EXPECT_EQ(ThereAndBack(SmallBpe(name)).back.GetString("tokenizer.ggml.pre"), name);
  }
}

TEST(TokenizerExport, ByteLevelVocabulariesComeBackWhole) {
  Metadata metadata = SmallBpe("gpt-2");
  metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{259});
  metadata.Set("tokenizer.ggml.eos_token_id", uint32_t{260});
  metadata.Set("tokenizer.ggml.padding_token_id", uint32_t{3});  // a normal token stays one
  metadata.Set("tokenizer.ggml.add_bos_token", true);
  metadata.Set("tokenizer.ggml.add_eos_token", true);
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  metadata.Set("tokenizer.chat_template.tool_use", std::string("{{ tools }}"));
  metadata.Set("tokenizer.chat_templates", Array{std::vector<std::string>{"tool_use"}});
  metadata.Set("tokenizer.chat_template", std::string("{{ bos_token }}\n"));
  const Exported exported = ThereAndBack(metadata);
  ExpectSame(metadata, exported.back);
  EXPECT_THAT(exported.notes, IsEmpty());
}

TEST(TokenizerExport, WritesLowerCasingBesideTheNormalizer) {
  Metadata metadata = SmallBpe("olmo");
  metadata.Set("tokenizer.ggml.normalizer.lowercase", true);
  Json config;
  std::vector<std::string> notes;
  const auto files = ExportTokenizer(metadata, config, notes);
  const Json normalizer = Json::parse(files.at(0).content)["normalizer"];
  EXPECT_EQ(normalizer["normalizers"], Json::parse(R"([{"type": "NFC"}, {"type": "Lowercase"}])"));
}

TEST(TokenizerExport, SentencePieceVocabulariesComeBackWhole) {
  Metadata metadata = ScoredVocabulary({{"\u2581the", TokenType::kNormal, -3.5f},
                                        {"a\u00e9", TokenType::kNormal, -7.25f},
                                        {"<|im_start|>", TokenType::kControl, -1000.0f},
                                        {"<tool> x", TokenType::kUserDefined, -1000.0f},
                                        {"rest", TokenType::kUnused, -1.0f},
                                        {"[PAD264]", TokenType::kUnused, -10000.0f}});
  metadata.Set("tokenizer.ggml.pre", std::string("default"));
  metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{1});
  metadata.Set("tokenizer.ggml.eos_token_id", uint32_t{261});
  metadata.Set("tokenizer.ggml.unknown_token_id", uint32_t{0});
  metadata.Set("tokenizer.ggml.padding_token_id", uint32_t{264});  // beyond the pieces
  metadata.Set("tokenizer.ggml.add_bos_token", true);
  metadata.Set("tokenizer.chat_template", std::string("{{ x }}"));
  const Exported exported = ThereAndBack(metadata);
  ExpectSame(metadata, exported.back);
  EXPECT_THAT(exported.notes, IsEmpty());
}

// As many models have it: <unk> was made a control token by tokenizer_config.json.
TEST(TokenizerExport, FindsTheUnknownPieceBehindAControlToken) {
  Metadata metadata = testing::WithTokens("llama", {{"<unk>", TokenType::kControl, -1000.0f},
                                                    {"<s>", TokenType::kControl, -1000.0f},
                                                    {"x", TokenType::kNormal, -1.0f}});
  metadata.Set("tokenizer.ggml.pre", std::string("default"));
  const Exported exported = ThereAndBack(metadata);
  ExpectSame(metadata, exported.back);
  EXPECT_THAT(exported.notes, IsEmpty());
}

TEST(TokenizerExport, SaysWhatDoesNotComeBack) {
  Metadata metadata = ScoredVocabulary({{"<tool>", TokenType::kUserDefined, -3.0f}});
  metadata.Set("tokenizer.ggml.eot_token_id", uint32_t{2});
  const Exported exported = ThereAndBack(metadata);
  EXPECT_THAT(exported.notes, Contains(HasSubstr("1 tokens come back with another score")));
  EXPECT_THAT(exported.notes, Contains(HasSubstr("tokenizer.ggml.eot_token_id")));
}

TEST(TokenizerExport, LeavesOutTokenizersThatItCannotWrite) {
  for (const char* model : {"bert", "t5", "none"}) {
    Json config;
    std::vector<std::string> notes;
    const Metadata metadata = testing::WithTokens(model, {{"a"}});
    EXPECT_THAT(ExportTokenizer(metadata, config, notes), IsEmpty());
    EXPECT_THAT(notes, Contains(HasSubstr("is not written")));
  }
}

ErrorCode CodeOf(const Metadata& metadata) {
  return testing::ErrorOf([&] {
           Json config;
           std::vector<std::string> notes;
           ExportTokenizer(metadata, config, notes);
         })
      .code();
}

TEST(TokenizerExport, RefusesVocabulariesThatContradictThemselves) {
  EXPECT_EQ(CodeOf(ScoredVocabulary({{"<s>"}})), ErrorCode::kDuplicate);
  EXPECT_EQ(CodeOf(ScoredVocabulary({{"\xff"}})), ErrorCode::kBadText);
  EXPECT_EQ(CodeOf(ScoredVocabulary({{"x", static_cast<TokenType>(9)}})), ErrorCode::kBadValue);
  Metadata metadata = ScoredVocabulary({{"x"}});
  metadata.Set("tokenizer.ggml.scores", Array{std::vector<float>{1.0f}});
  EXPECT_EQ(CodeOf(metadata), ErrorCode::kBadValue);
  metadata.Set("tokenizer.ggml.scores", Array{std::vector<int32_t>{1}});
  EXPECT_EQ(CodeOf(metadata), ErrorCode::kBadType);
  metadata.Remove("tokenizer.ggml.tokens");
  EXPECT_EQ(CodeOf(metadata), ErrorCode::kMissing);
  EXPECT_EQ(CodeOf(testing::WithTokens("llama", {{"x"}})), ErrorCode::kMissing);
}

}  // namespace
}  // namespace quern::converters
