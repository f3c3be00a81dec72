#include "converters/tokenizer/text_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "converters/tokenizer/gguf_vocabulary.h"
#include "converters/tokenizer/scored_bpe.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"
#include "tests/converters/tokenizer/small_vocabulary_testing.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::RankedVocabulary;
using testing::ScoredVocabulary;
using testing::SmallToken;
using testing::WithTokens;

constexpr EncodeOptions kBare = {.add_special = false};
constexpr EncodeOptions kParsed = {.add_special = false, .parse_special = true};
constexpr TokenId kByte0 = 3;  // of ScoredVocabulary
constexpr TokenId kFirst = 259;

TEST(ScoredTokenizer, PutsASpaceInFrontAndBeginsWithBos) {
  const TextTokenizer tokenizer(ScoredVocabulary({{"▁"}, {"a"}, {"▁a", TokenType::kNormal, 1}}));
  EXPECT_THAT(tokenizer.Encode("a"), ElementsAre(1, kFirst + 2));
  EXPECT_THAT(tokenizer.Encode("a a", kBare), ElementsAre(kFirst + 2, kFirst + 2));
  EXPECT_THAT(tokenizer.Encode(""), ElementsAre(1));
  EXPECT_THAT(tokenizer.Encode("", kBare), IsEmpty());
}

TEST(ScoredTokenizer, LeavesTheSpaceOutWhereMetadataSaysSo) {
  Metadata metadata = ScoredVocabulary({{"▁"}, {"a"}, {"▁a", TokenType::kNormal, 1}});
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  metadata.Set("tokenizer.ggml.add_bos_token", false);
  metadata.Set("tokenizer.ggml.add_eos_token", true);
  EXPECT_THAT(TextTokenizer(metadata).Encode("a a"), ElementsAre(kFirst + 1, kFirst + 2, 2));
}

TEST(ScoredTokenizer, MergesTheBestScoreFirstAndTheLeftmostOfEquals) {
  Metadata metadata = ScoredVocabulary({{"a"},
                                        {"b"},
                                        {"ab", TokenType::kNormal, -2},
                                        {"bb", TokenType::kNormal, -1},
                                        {"aa", TokenType::kNormal, -2}});
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  const TextTokenizer tokenizer(metadata);
  EXPECT_THAT(tokenizer.Encode("abb", kBare), ElementsAre(kFirst, kFirst + 3));
  EXPECT_THAT(tokenizer.Encode("aab", kBare), ElementsAre(kFirst + 4, kFirst + 1));
}

TEST(ScoredTokenizer, WritesWhatIsNoTokenByteByByte) {
  Metadata metadata = ScoredVocabulary({{"a"}});
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  const TextTokenizer tokenizer(metadata);
  EXPECT_THAT(tokenizer.Encode("a\u00e9", kBare),
              ElementsAre(kFirst, kByte0 + 0xc3, kByte0 + 0xa9));
  EXPECT_THAT(
      tokenizer.Encode("\xff"
                       "a\x80\xe2\x82",
                       kBare),
      ElementsAre(kByte0 + 0xff, kByte0 + 'a', kByte0 + 0x80, kByte0 + 0xe2, kByte0 + 0x82));
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode("a\u00e9\xe2", kBare)), "a\u00e9\xe2");
}

TEST(ScoredTokenizer, TakesTheUnknownTokenWhereThereAreNoBytes) {
  Metadata metadata = WithTokens("llama", {{"<unk>", TokenType::kUnknown},
                                           {"<s>", TokenType::kControl},
                                           {"</s>", TokenType::kControl},
                                           {"a"}});
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_THAT(TextTokenizer(metadata).Encode("axa", kBare), ElementsAre(3, 0, 3));
}

TEST(ScoredTokenizer, ReadsControlTokensInTextOnlyWhenAsked) {
  const TextTokenizer tokenizer(
      ScoredVocabulary({{"▁"}, {"a"}, {"<tool>", TokenType::kUserDefined}}));
  EXPECT_THAT(tokenizer.Encode("</s>a", kParsed), ElementsAre(2, kFirst, kFirst + 1));
  EXPECT_THAT(tokenizer.Encode("<s>", kBare),
              ElementsAre(kFirst, kByte0 + '<', kByte0 + 's', kByte0 + '>'));
  EXPECT_THAT(tokenizer.Encode("a<tool>a", kBare),
              ElementsAre(kFirst, kFirst + 1, kFirst + 2, kFirst, kFirst + 1));
}

TEST(ScoredTokenizer, TakesTheLongestSpecialTokenFirstWhereverItIs) {
  Metadata metadata = ScoredVocabulary(
      {{"<a>", TokenType::kUserDefined}, {"a><b", TokenType::kUserDefined}, {"<"}, {">"}});
  metadata.Set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_THAT(TextTokenizer(metadata).Encode("<a><b>", kBare),
              ElementsAre(kFirst + 2, kFirst + 1, kFirst + 3));
}

// Cutting the text where no token reaches across must be a matter of speed only.
TEST(ScoredTokenizer, CuttingChangesNoId) {
  std::mt19937 random(7);
  const auto word = [&](size_t longest) {
    std::string text;
    for (size_t i = random() % longest + 1; i > 0; --i)
      text += std::vector<std::string>{"a", "b", "c", "▁", "é", "\x80"}[random() % 6];
    return text;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<SmallToken> tokens;
    for (int i = 0; i < 30; ++i)
      tokens.push_back({word(4), TokenType::kNormal, static_cast<float>(random() % 10)});
    const GgufVocabulary vocabulary(ScoredVocabulary(tokens));
    const ScoredBpe bpe(vocabulary);
    const std::string text = word(60);
    std::vector<TokenId> whole, pieces;
    bpe.Tokenize(text, whole);
    for (const std::string_view piece : bpe.Cut(text)) bpe.Tokenize(piece, pieces);
    ASSERT_EQ(whole, pieces) << text;
  }
}

TEST(RankedTokenizer, MergesTheLowestRankFirst) {
  const TextTokenizer tokenizer(RankedVocabulary("gpt-2", {"b c", "a b", "Ġ a"}, {}));
  EXPECT_THAT(tokenizer.Encode("abc a", kBare), ElementsAre('a', 256, 258));
  EXPECT_THAT(tokenizer.Encode("abab", kBare), ElementsAre(257, 257));
}

TEST(RankedTokenizer, TakesTheFirstOfEqualMergesAndMergesPastWhatIsNoToken) {
  Metadata metadata = RankedVocabulary("gpt-2", {}, {{"abc"}});
  metadata.Set("tokenizer.ggml.merges",
               Array{std::vector<std::string>{"a b", "ab c", "b c", "a b"}});
  const TextTokenizer tokenizer(metadata);
  EXPECT_THAT(tokenizer.Encode("abc", kBare), ElementsAre(256));
  EXPECT_THAT(tokenizer.Encode("ab", kBare), ElementsAre('a', 'b'));
}

TEST(RankedTokenizer, TakesAWholeWordThatIsATokenWhereThePreTokenizerSaysSo) {
  const std::vector<SmallToken> word = {{"<s>", TokenType::kControl}, {"word"}};
  Metadata llama3 = RankedVocabulary("llama-bpe", {"w o"}, word);
  llama3.Set("tokenizer.ggml.bos_token_id", uint32_t{257});
  EXPECT_THAT(TextTokenizer(llama3).Encode("word"), ElementsAre(257, 258));
  EXPECT_THAT(TextTokenizer(RankedVocabulary("gpt-2", {"w o"}, word)).Encode("word"),
              ElementsAre(256, 'r', 'd'));
}

TEST(RankedTokenizer, ReplacesMalformedBytesAndKeepsSurrogates) {
  const TextTokenizer tokenizer(RankedVocabulary("gpt-2", {}, {}));
  const auto text_of = [&](std::string_view text) {
    return tokenizer.Decode(tokenizer.Encode(text, kBare));
  };
  EXPECT_EQ(text_of("a\x80z"), "a\ufffdz");
  EXPECT_EQ(text_of("\xed\xa0\x80"), "\xed\xa0\x80");
  EXPECT_EQ(text_of("\xf0\x9f\x98"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(text_of("\xf7\xbf\xbf\xbf"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(text_of("\xc1\xa1"), "a");
}

TEST(RankedTokenizer, ReadsWhatItWrites) {
  const TextTokenizer tokenizer(RankedVocabulary("qwen2", {"a b", "Ġ a", "Ġa b"}, {}));
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (size_t i = random() % 40; i > 0; --i)
      AppendUtf8(random() % 2 ? random() % 0x80 : 0x80 + random() % 0x2000, text);
    ASSERT_EQ(tokenizer.Decode(tokenizer.Encode(text, kBare)), text);
  }
}

TEST(RankedTokenizer, CleansSpacesOnDecodingWhereThePreTokenizerSaysSo) {
  const std::string text = "It 's , you 're here . ' x ' y 't ?";
  const TextTokenizer clean(RankedVocabulary("gpt-2", {}, {}));
  EXPECT_EQ(clean.Decode(clean.Encode(text, kBare)), "It's, you're here.'x'y 't?");
  const TextTokenizer exact(RankedVocabulary("qwen2", {}, {}));
  EXPECT_EQ(exact.Decode(exact.Encode(text, kBare)), text);
}

TEST(RankedTokenizer, KnowsWhatEndsGenerationByItsText) {
  const TextTokenizer tokenizer(RankedVocabulary(
      "qwen2", {}, {{"<|im_end|>", TokenType::kUserDefined}, {"<|file_sep|>"}, {"x"}}));
  EXPECT_TRUE(tokenizer.EndsGeneration(256));
  EXPECT_TRUE(tokenizer.IsControl(256));
  EXPECT_TRUE(tokenizer.EndsGeneration(257));
  EXPECT_FALSE(tokenizer.EndsGeneration(258));
  EXPECT_EQ(tokenizer.Encode("<|im_end|>", kBare).size(), 10u);
  EXPECT_THAT(tokenizer.Encode("<|im_end|>", kParsed), ElementsAre(256));
}

TEST(RankedTokenizer, TakesGemma4sTextAsItIs) {
  Metadata metadata = WithTokens("gemma4", {{"<bos>", TokenType::kControl},
                                            {"▁"},
                                            {"a"},
                                            {"▁a"},
                                            {"\n\n"},
                                            {"<0xC3>", TokenType::kByte},
                                            {"<0xA9>", TokenType::kByte}});
  metadata.Set("tokenizer.ggml.merges", Array{std::vector<std::string>{"▁ a"}});
  metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{0});
  const TextTokenizer tokenizer(metadata);
  EXPECT_THAT(tokenizer.Encode("a a\n\né"), ElementsAre(0, 2, 3, 4, 5, 6));
  EXPECT_EQ(tokenizer.Piece(3), " a");
}

TEST(TextTokenizer, StripsSpaceBesideTokensOfCertainModels) {
  Metadata metadata = ScoredVocabulary({{"▁"}, {"a"}, {"<|user|>", TokenType::kUserDefined}});
  metadata.Set("general.name", std::string("Phi-3 mini"));
  EXPECT_THAT(TextTokenizer(metadata).Encode("<|user|> \n a", kBare),
              ElementsAre(kFirst + 2, kFirst, kFirst + 1));
}

Metadata With(Metadata metadata, std::string key, Value value) {
  metadata.Set("tokenizer.ggml." + key, std::move(value));
  return metadata;
}

TEST(TextTokenizer, RejectsWhatItDoesNotKnow) {
  const Metadata scored = ScoredVocabulary({});
  const Metadata ranked = RankedVocabulary("gpt-2", {}, {});
  using Texts = std::vector<std::string>;
  const auto make = [](const Metadata& metadata) { return TextTokenizer(metadata); };
  EXPECT_QUERN_ERROR(make(Metadata()), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(make(With(scored, "model", std::string("t5"))), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(make(With(ranked, "pre", std::string("no-such"))), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(make(With(scored, "tokens", std::string("a"))), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(make(With(scored, "tokens", Array{Texts{}})), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(make(With(scored, "scores", Array{std::vector<float>{1}})),
                     ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(make(With(scored, "scores", Array{std::vector<float>(259, std::nanf(""))})),
                     ErrorCode::kNonFinite);
  EXPECT_QUERN_ERROR(make(With(scored, "token_type", Array{std::vector<uint32_t>(259, 1)})),
                     ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(make(With(scored, "add_bos_token", uint32_t{1})), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(make(With(ranked, "merges", std::string("a b"))), ErrorCode::kBadType);
  Metadata no_merges = ranked;
  no_merges.Remove("tokenizer.ggml.merges");
  EXPECT_QUERN_ERROR(make(no_merges), ErrorCode::kMissing);
  Metadata small = WithTokens("llama", {{"a"}});
  EXPECT_QUERN_ERROR(make(small), ErrorCode::kBadValue);  // the default <s> is beyond it
  EXPECT_QUERN_ERROR((void)TextTokenizer(scored).Piece(259), ErrorCode::kOutOfBounds);
}

}  // namespace
}  // namespace quern::converters
