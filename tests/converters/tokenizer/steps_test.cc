// Single steps of the tokenizers engine: patterns, normalizers, pre-tokenizers, post-processors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/added_tokens.h"
#include "converters/tokenizer/normalizer.h"
#include "converters/tokenizer/post_processor.h"
#include "converters/tokenizer/pre_tokenizer.h"
#include "converters/tokenizer/regex.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Json Parse(std::string_view text) { return ParseJson(text, "test"); }

std::vector<std::string> Split(std::string_view config, std::string text) {
  std::vector<std::string> words;
  for (const Word& word : PreTokenizer(Parse(config)).Split({std::move(text), true}))
    words.push_back(word.text);
  return words;
}

std::string Normalize(std::string_view config, std::string text) {
  return Normalizer(Parse(config)).Normalize(std::move(text));
}

std::string SplitAtDash(std::string_view behavior, bool invert = false) {
  return std::string(R"({"type": "Split", "pattern": {"String": "-"}, "behavior": ")") +
         std::string(behavior) + R"(", "invert": )" + (invert ? "true}" : "false}");
}

TEST(Regex, PassesOverAnEmptyMatchDirectlyAfterAMatch) {
  EXPECT_THAT(Regex("a*").FindAll("baac"),
              ElementsAre(TextSpan{0, 0}, TextSpan{1, 3}, TextSpan{4, 4}));
}

TEST(Regex, StopsCatastrophicBacktracking) {
  const Regex regex("(a+)+$");
  EXPECT_QUERN_ERROR(regex.FindAll(std::string(64, 'a') + "b"), ErrorCode::kLimitExceeded);
}

TEST(Regex, SearchesLongTextsWithoutAMatch) {
  EXPECT_THAT(Regex("[0-9][0-9][0-9]").FindAll(std::string(1'000'000, 'x')), IsEmpty());
}

TEST(Regex, RefusesWhatIsNoExpression) { EXPECT_QUERN_ERROR(Regex("(a"), ErrorCode::kBadText); }

TEST(Regex, LimitsWhatAnExpressionExpandsTo) {
  std::string nested = "a";
  for (int i = 0; i < 8; ++i) nested = "(?:" + nested + "){1,100000}";
  try {
    (void)Regex(nested).FindAll(std::string(100, 'a') + "b");
  } catch (const Error& error) {
    EXPECT_EQ(ErrorCodeName(error.code()), ErrorCodeName(ErrorCode::kLimitExceeded));
  }
}

TEST(PreTokenizer, SplitsWithEachBehavior) {
  const std::string text = "the-final--countdown";
  EXPECT_THAT(Split(SplitAtDash("Removed"), text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(Split(SplitAtDash("Isolated"), text),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(Split(SplitAtDash("MergedWithPrevious"), text),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(Split(SplitAtDash("MergedWithNext"), text),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(Split(SplitAtDash("Contiguous"), text),
              ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(Split(SplitAtDash("Removed", true), text), ElementsAre("-", "-", "-"));
}

TEST(PreTokenizer, ByteLevelWritesEveryByteAsACharacter) {
  EXPECT_THAT(Split(R"({"type": "ByteLevel", "add_prefix_space": true})", "a \u00e9\n"),
              ElementsAre("\u0120a", "\u0120\u00c3\u00a9", "\u010a"));
}

TEST(PreTokenizer, MetaspacePrependsFirstOnlyAtTheStart) {
  const Json config = Parse(
      R"({"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": false})");
  const PreTokenizer first(config);
  EXPECT_EQ(first.Split({"a b", true})[0].text, "\u2581a\u2581b");
  EXPECT_EQ(first.Split({"a b", false})[0].text, "a\u2581b");
}

TEST(PreTokenizer, DigitsAreAlsoFractionsAndRomanNumerals) {
  EXPECT_THAT(Split(R"({"type": "Digits", "individual_digits": true})", "a12\u00bd\u2167"),
              ElementsAre("a", "1", "2", "\u00bd", "\u2167"));
}

TEST(PreTokenizer, BertIsolatesPunctuationAndDropsSpace) {
  EXPECT_THAT(Split(R"({"type": "BertPreTokenizer"})", "Hey  friend!     How?"),
              ElementsAre("Hey", "friend", "!", "How", "?"));
}

TEST(PreTokenizer, RefusesAnUnknownType) {
  EXPECT_QUERN_ERROR(Split(R"({"type": "Magic"})", "x"), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(Split(R"({"kind": "Split"})", "x"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Split(SplitAtDash("Eaten"), "x"), ErrorCode::kBadValue);
}

TEST(Normalizer, AppliesUnicodeForms) {
  EXPECT_EQ(Normalize(R"({"type": "NFC"})", "e\u0301"), "\u00e9");
  EXPECT_EQ(Normalize(R"({"type": "NFD"})", "\u00e9"), "e\u0301");
  EXPECT_EQ(Normalize(R"({"type": "NFKC"})", "\ufb01\u00b2"), "fi2");
  EXPECT_EQ(Normalize(R"({"type": "NFKD"})", "\u212b"), "A\u030a");
  EXPECT_EQ(Normalize(R"({"type": "Lowercase"})", "\u0130\u00c4"), "i\u0307\u00e4");
}

TEST(Normalizer, StripsPrependsAndReplaces) {
  EXPECT_EQ(Normalize(R"({"type": "Strip", "strip_left": true, "strip_right": false})", " \ta "),
            "a ");
  EXPECT_EQ(Normalize(R"({"type": "Strip"})", " \n "), "");
  EXPECT_EQ(Normalize(R"({"type": "Prepend", "prepend": "_"})", "a"), "_a");
  EXPECT_EQ(Normalize(R"({"type": "Prepend", "prepend": "_"})", ""), "");
  EXPECT_EQ(
      Normalize(R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"})", "a   b c"),
      "a_b c");
}

TEST(Normalizer, BertLowersStripsAccentsAndIsolatesChinese) {
  EXPECT_EQ(Normalize(R"({"type": "BertNormalizer"})", "H\u00c9\u0001llo\t\u4f60"),
            "hello  \u4f60 ");
}

TEST(Normalizer, RefusesADamagedCharsmap) {
  const auto precompiled = [](std::string_view map) {
    return std::string(R"({"type": "Precompiled", "precompiled_charsmap": ")") + std::string(map) +
           "\"}";
  };
  EXPECT_QUERN_ERROR(Normalize(precompiled("!!!!"), "x"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Normalize(precompiled("////fwAA"), "x"), ErrorCode::kOutOfBounds);
}

TEST(PostProcessor, FindsWhatStandsAroundTheText) {
  EXPECT_EQ(FrameFromPostProcessor(
                Parse(R"({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]})")),
            (SpecialFrame{{0}, {2}}));
  EXPECT_EQ(FrameFromPostProcessor(Parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"}, {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A"}}],
       "special_tokens": {"B": {"id": "B", "ids": [7, 8], "tokens": ["B", "C"]}}}]})")),
            (SpecialFrame{{7, 8}, {}}));
  EXPECT_QUERN_ERROR(FrameFromPostProcessor(Parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "B"}}], "special_tokens": {}})")),
                     ErrorCode::kBadValue);
}

std::vector<std::string> Pieces(const AddedTokens& tokens, std::string_view text) {
  std::vector<std::string> pieces;
  for (const auto& piece : tokens.FindRaw(text)) {
    pieces.push_back((piece.id ? "#" : "") +
                     std::string(text.substr(piece.span.begin, piece.span.end - piece.span.begin)));
  }
  return pieces;
}

TEST(AddedTokens, PrefersTheLeftmostThenTheLongest) {
  const AddedTokens tokens({{.id = 1, .content = "<a>"}, {.id = 2, .content = "<a><b>"}}, {});
  EXPECT_THAT(Pieces(tokens, "x<a><b><a>"), ElementsAre("x", "#<a><b>", "#<a>"));
}

TEST(AddedTokens, TakesSpacesAndRespectsWords) {
  const AddedTokens strips({{.id = 1, .content = "<m>", .lstrip = true, .rstrip = true}}, {});
  EXPECT_THAT(Pieces(strips, "a \t<m> b"), ElementsAre("a", "# \t<m> ", "b"));
  const AddedTokens words({{.id = 1, .content = "ab", .single_word = true}}, {});
  EXPECT_THAT(Pieces(words, "cab ab."), ElementsAre("cab ", "#ab", "."));
}

}  // namespace
}  // namespace quern::converters
