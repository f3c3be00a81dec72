// Small tokenizers built in code: rules of special tokens, templates, errors.
#include "converters/tokenizer/tokenizer_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/pre_hashes.h"
#include "converters/tokenizer/vocabulary.h"
#include "tests/converters/tokenizer/folder_source_testing.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// An array of arrays: braces alone would make an object.
Json Pairs(std::initializer_list<std::pair<const char*, const char*>> pairs) {
  Json list = Json::array();
  for (const auto& [left, right] : pairs) list.push_back(Json::array({left, right}));
  return list;
}

// A byte-level BPE of six tokens; `changes` is merged into it.
Json SmallTokenizer(const Json& changes = Json::object()) {
  Json json = {{"added_tokens",
                {{{"id", 4}, {"content", "<s>"}, {"special", true}, {"normalized", false}},
                 {{"id", 5}, {"content", "\u2581x"}, {"special", false}, {"normalized", true}}}},
               {"normalizer", nullptr},
               {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
               {"post_processor", nullptr},
               {"decoder", {{"type", "ByteLevel"}}},
               {"model",
                {{"type", "BPE"},
                 {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {" ", 3}}},
                 {"merges", Pairs({{"a", "b"}})}}}};
  json.merge_patch(changes);
  return json;
}

struct Files {
  Json tokenizer = SmallTokenizer();
  Json tokenizer_config = Json::object();
  Json config = {{"vocab_size", 8}};
};

struct Result {
  Metadata metadata;
  std::vector<std::string> notes;
};

Result Convert(const Files& files, const TokenizerOptions& options = {.kind = "gpt2"},
               const testing::TempFolder& folder = {}) {
  if (!files.tokenizer.is_null()) folder.Write("tokenizer.json", files.tokenizer.dump());
  if (!files.tokenizer_config.is_null())
    folder.Write("tokenizer_config.json", files.tokenizer_config.dump());
  folder.Write("config.json", files.config.dump());
  Result result;
  AddTokenizerMetadata(testing::FolderSource(folder.path()), options, result.metadata,
                       result.notes);
  return result;
}

std::vector<std::string> Keys(const Metadata& metadata) {
  std::vector<std::string> keys;
  for (const auto& entry : metadata.entries()) keys.push_back(entry.first);
  return keys;
}

template <typename T>
std::vector<T> Items(const Metadata& metadata, std::string_view key) {
  return std::get<std::vector<T>>(metadata.Get<Array>(key)->items);
}

TEST(TokenizerMetadata, PadsHolesAndTypesAddedTokens) {
  const Metadata metadata = Convert({}).metadata;
  EXPECT_THAT(Items<std::string>(metadata, "tokenizer.ggml.tokens"),
              ElementsAre("a", "b", "ab", " ", "<s>", " x", "[PAD6]", "[PAD7]"));
  EXPECT_THAT(Items<int32_t>(metadata, "tokenizer.ggml.token_type"),
              ElementsAre(1, 1, 1, 1, 3, 4, 5, 5));
  EXPECT_THAT(Keys(metadata),
              ElementsAre("tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
                          "tokenizer.ggml.token_type", "tokenizer.ggml.merges"));
}

TEST(TokenizerMetadata, RecognizesARetrainedVocabularyByItsForm) {
  const Result result = Convert({});
  EXPECT_EQ(result.metadata.GetString("tokenizer.ggml.pre"), "gpt-2");
  ASSERT_EQ(result.notes.size(), 1u);
  EXPECT_THAT(result.notes[0], HasSubstr("--pre NAME overrides"));
}

TEST(TokenizerMetadata, RefusesAnUnknownPreTokenizerUnlessItIsNamed) {
  Files files;
  files.tokenizer["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"String", "q"}}}, {"behavior", "Isolated"}};
  const Error error = testing::ErrorOf([&] { Convert(files); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("--pre NAME"));
  EXPECT_THAT(error.what(), HasSubstr("Split(Isolated, q)"));
  EXPECT_EQ(
      Convert(files, {.kind = "gpt2", .pre = "falcon"}).metadata.GetString("tokenizer.ggml.pre"),
      "falcon");
}

TEST(TokenizerMetadata, StopsAtACatastrophicPattern) {
  Files files;
  files.tokenizer["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "([^q]+)+(?!.)(?<=1)"}}}, {"behavior", "Isolated"}};
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kLimitExceeded);
}

TEST(TokenizerMetadata, WritesSpacesInsideMergesAsU0120) {
  Files files;
  files.tokenizer["model"]["vocab"] = {{"a", 0}, {" ", 1}, {"a ", 2}, {" a ", 3}};
  files.tokenizer["model"]["merges"] = Pairs({{"a", " "}, {" ", "a "}});
  EXPECT_THAT(Items<std::string>(Convert(files).metadata, "tokenizer.ggml.merges"),
              ElementsAre("a \u0120", "\u0120 a\u0120"));
}

TEST(TokenizerMetadata, ResolvesSpecialTokensBeforeTheConfigsIds) {
  Files files;
  files.tokenizer_config = {{"bos_token", {{"content", "<s>"}}}, {"add_bos_token", true}};
  files.config = {{"vocab_size", 8},
                  {"bos_token_id", 1},
                  {"eos_token_id", Json::array({2, 3})},
                  {"pad_token_id", 0}};
  const Metadata metadata = Convert(files).metadata;
  EXPECT_EQ(metadata.GetInteger("tokenizer.ggml.bos_token_id"), 4);
  EXPECT_FALSE(metadata.Has("tokenizer.ggml.eos_token_id"));
  const auto keys = Keys(metadata);
  EXPECT_THAT(std::vector<std::string>(keys.end() - 3, keys.end()),
              ElementsAre("tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id",
                          "tokenizer.ggml.add_bos_token"));
}

TEST(TokenizerMetadata, TakesTheEndOfATemplateAsEndOfSequence) {
  Files files;
  files.tokenizer_config = {{"bos_token", "<s>"}, {"eos_token", "\u2581x"}};
  files.tokenizer["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"Sequence", {{"id", "A"}}}}, {{"SpecialToken", {{"id", "<s>"}}}}}},
      {"pair", Json::array()},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {4}}}}}}};
  const Metadata metadata = Convert(files).metadata;
  EXPECT_EQ(metadata.GetInteger("tokenizer.ggml.eos_token_id"), 4);
  EXPECT_EQ(metadata.GetInteger("tokenizer.ggml.eot_token_id"), 5);
  EXPECT_TRUE(*metadata.Get<bool>("tokenizer.ggml.add_eos_token"));
}

TEST(TokenizerMetadata, AddsSpecialTokensThatOnlyTheConfigNames) {
  Files files;
  files.tokenizer_config = {{"eos_token", "ab"}, {"pad_token", "<pad>"}};
  const Metadata metadata = Convert(files).metadata;
  EXPECT_THAT(Items<std::string>(metadata, "tokenizer.ggml.tokens"),
              ElementsAre("a", "b", "ab", " ", "<s>", " x", "<pad>", "[PAD7]"));
  EXPECT_THAT(Items<int32_t>(metadata, "tokenizer.ggml.token_type"),
              ElementsAre(1, 1, 3, 1, 3, 4, 3, 5));
}

TEST(TokenizerMetadata, RefusesIdsOutsideTheVocabulary) {
  Files files;
  files.config["eos_token_id"] = 8;
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kBadValue);
  files.config["eos_token_id"] = -1;
  EXPECT_FALSE(Convert(files).metadata.Has("tokenizer.ggml.eos_token_id"));
  files.config = {{"vocab_size", 5}};
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kBadValue);
  files.config = {{"vocab_size", uint64_t{1} << 40}};
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kLimitExceeded);
}

TEST(TokenizerMetadata, RefusesMergesOfUnknownTokens) {
  Files files;
  files.tokenizer["model"]["merges"] = Pairs({{"a", "z"}});
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kBadValue);
}

TEST(TokenizerMetadata, RefusesOtherModels) {
  Files files;
  files.tokenizer["model"] = {{"type", "WordPiece"}, {"vocab", {{"a", 0}}}, {"unk_token", "a"}};
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kUnsupported);
  files.tokenizer = nullptr;
  EXPECT_QUERN_ERROR(Convert(files), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Convert({}, {.kind = "sentencepiece"}), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Convert({}, {.kind = "runes"}), ErrorCode::kUnsupported);
}

TEST(TokenizerMetadata, BuildsATokenizerFromSlowFiles) {
  Files files;
  files.tokenizer = nullptr;
  files.tokenizer_config = {
      {"tokenizer_class", "Qwen2Tokenizer"},
      {"added_tokens_decoder", {{"3", {{"content", "<|endoftext|>"}, {"special", true}}}}}};
  const testing::TempFolder folder;
  folder.Write("vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
  folder.Write("merges.txt", "#version: 0.2\na b\n\nmalformed\n");
  const Metadata metadata = Convert(files, {.kind = "gpt2"}, folder).metadata;
  EXPECT_EQ(metadata.GetString("tokenizer.ggml.pre"), "qwen2");
  EXPECT_THAT(Items<std::string>(metadata, "tokenizer.ggml.merges"), ElementsAre("a b"));
  EXPECT_EQ(Items<int32_t>(metadata, "tokenizer.ggml.token_type")[3], 3);
}

TEST(TokenizerMetadata, ConvertsSentencePieceInTokenizerJson) {
  Files files;
  files.tokenizer = SmallTokenizer(
      {{"decoder", {{"type", "Sequence"}, {"decoders", Json::array()}}},
       {"model", {{"byte_fallback", true}, {"vocab", {{" ", nullptr}, {"<0x0A>", 3}}}}}});
  files.tokenizer_config = {{"bos_token", "<s>"}, {"add_prefix_space", false}};
  files.config["vocab_size"] = 6;
  const Metadata metadata = Convert(files, {.kind = "auto"}).metadata;
  EXPECT_EQ(metadata.GetString("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(metadata.GetString("tokenizer.ggml.pre"), "default");
  EXPECT_THAT(Keys(metadata).front(), "tokenizer.ggml.add_space_prefix");
  EXPECT_THAT(Items<float>(metadata, "tokenizer.ggml.scores"),
              ElementsAre(-1000, -1000, -1000, -1000, -1000, -1000));
  EXPECT_THAT(Items<int32_t>(metadata, "tokenizer.ggml.token_type"), ElementsAre(1, 1, 1, 6, 3, 4));
}

TEST(TokenizerMetadata, CopiesChatTemplatesUnrendered) {
  Files files;
  files.tokenizer_config = {{"chat_template", "{{ ''.__class__ }}"}};
  EXPECT_EQ(Convert(files).metadata.GetString("tokenizer.chat_template"), "{{ ''.__class__ }}");
  files.tokenizer_config = {
      {"chat_template",
       {{{"name", "default"}, {"template", "D"}}, {{"name", "tool use"}, {"template", "T"}}}}};
  const Metadata list = Convert(files).metadata;
  EXPECT_EQ(list.GetString("tokenizer.chat_template"), "D");
  EXPECT_EQ(list.GetString("tokenizer.chat_template.tool_use"), "T");
  EXPECT_THAT(Items<std::string>(list, "tokenizer.chat_templates"), ElementsAre("tool_use"));
  files.tokenizer_config = {{"bos_token", "<s>"}};
  const testing::TempFolder folder;
  folder.Write("chat_template.jinja", "J\r\n");
  EXPECT_EQ(Convert(files, {.kind = "gpt2"}, folder).metadata.GetString("tokenizer.chat_template"),
            "J\n");
}

TEST(TokenizerMetadata, KnowsCodeLlamaAndSmallGraniteBySize) {
  Files files;
  files.config["vocab_size"] = 32016;
  EXPECT_EQ(Convert(files, {.kind = "auto"}).metadata.GetInteger("tokenizer.ggml.eot_token_id"),
            32010);
  files.config["vocab_size"] = 49152;
  EXPECT_FALSE(
      *Convert(files, {.kind = "auto"}).metadata.Get<bool>("tokenizer.ggml.add_bos_token"));
}

TEST(TokenizerMetadata, MarksTokensThatLookSpecial) {
  EXPECT_TRUE(LooksSpecial("<|user|>"));
  EXPECT_TRUE(LooksSpecial("<｜begin▁of▁sentence｜>"));
  EXPECT_TRUE(LooksSpecial("<unused7>"));
  EXPECT_FALSE(LooksSpecial("<user>"));
}

TEST(PreHashes, AreWellFormedAndUnique) {
  for (const PreHash& entry : PreHashes()) {
    EXPECT_EQ(entry.sha256.size(), 64u);
    EXPECT_EQ(entry.sha256.find_first_not_of("0123456789abcdef"), std::string_view::npos);
    EXPECT_EQ(PreNameOfHash(entry.sha256), entry.name);
  }
}

}  // namespace
}  // namespace quern::converters
