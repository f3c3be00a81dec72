#include "formats/huggingface/front_matter.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/fixtures.h"

namespace quern::formats::huggingface {
namespace {

Json Parse(std::string_view text) { return ParseFrontMatter(text, "README.md"); }
Json Value(const std::string& yaml) { return Parse("---\nkey: " + yaml + "\n---\n").at("key"); }

TEST(FrontMatter, ReadsAModelCard) {
  const Json card = Parse(
      "---\nlicense: apache-2.0\nlanguage:\n- en\n- no\n- fr\ntags: [chat, \"no\", 7b]\n"
      "base_model:\n  - meta-llama/Llama-2-7b # comment\nversion: 1.5\nempty:\n"
      "model-index:\n- name: x\n  results:\n  - value: 0.25\n---\n# Title\n---\nmore: text\n");
  EXPECT_EQ(card, Json::parse(R"({"license":"apache-2.0","language":["en","no","fr"],
      "tags":["chat","no","7b"],"base_model":["meta-llama/Llama-2-7b"],"version":1.5,"empty":null,
      "model-index":[{"name":"x","results":[{"value":0.25}]}]})"));
}

TEST(FrontMatter, ResolvesUnquotedScalarsAsYaml11) {
  const std::pair<const char*, Json> cases[] = {
      {"~", nullptr},
      {"null", nullptr},
      {"yes", true},
      {"Off", false},
      {"no", false},
      {"\"no\"", "no"},
      {"'1'", "1"},
      {"y", "y"},
      {"12", 12},
      {"-12", -12},
      {"+1_000", 1000},
      {"0x1F", 31},
      {"0b101", 5},
      {"017", 15},
      {"08", "08"},
      {"0", 0},
      {"-9223372036854775808", std::numeric_limits<int64_t>::min()},
      {"18446744073709551615", std::numeric_limits<uint64_t>::max()},
      {"18446744073709551616", "18446744073709551616"},
      {"1.5", 1.5},
      {"-.5", -0.5},
      {"1.", 1.0},
      {"1.0e+3", 1000.0},
      {"1e5", "1e5"},
      {"1.0e3", "1.0e3"},
      {".inf", ".inf"},
      {".nan", ".nan"},
      {"1.2.3", "1.2.3"},
      {"2024-01-31", "2024-01-31"},
      {"7b", "7b"},
      {".", "."},
      {"!!str 5", "5"},
      {"|\n  a\n  b", "a\nb\n"},
  };
  for (const auto& [yaml, expected] : cases) EXPECT_EQ(Value(yaml), expected) << yaml;
}

TEST(FrontMatter, IsEmptyWhereThereIsNone) {
  for (const char* text :
       {"", "# Title\n", "text\n---\na: 1\n---\n", "--- \na: 1\n", "----\n", "---", "---\n---\n",
        "---\n- list\n---\n", "---\nword\n---\n", "\xef\xbb\xbf---\na: 1\n---\n"}) {
    EXPECT_EQ(Parse(text), Json::object()) << text;
  }
}

TEST(FrontMatter, AcceptsForeignLineEndsTabsAndAMissingFence) {
  const Json expected = {{"a", {{"b", 1}}}};
  EXPECT_EQ(Parse("---\r\na:\r\n\tb: 1\r\n---\r\ntext"), expected);
  EXPECT_EQ(Parse("---\ra:\r  b: 1\r---\r"), expected);
  EXPECT_EQ(Parse("---\na:\n  b: 1"), expected);
}

TEST(FrontMatter, TakesTheLastOfEqualKeys) {
  EXPECT_EQ(Parse("---\na: 1\na: [2]\n---\n"), Json({{"a", {2}}}));
}

TEST(FrontMatter, RefusesAliases) {
  std::string laughs = "---\na0: &a0 [x, x]\n";
  for (int i = 1; i < 40; ++i) {
    const std::string last = std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + last + ", *a" + last +
              "]\n";
  }
  EXPECT_QUERN_ERROR(Parse(laughs + "---\n"), ErrorCode::kUnsupported);
  EXPECT_EQ(Value("&unused 5"), 5);
}

TEST(FrontMatter, RefusesWhatIsTooDeepOrTooLong) {
  EXPECT_THROW(Value(std::string(100'000, '[')), Error);
  EXPECT_QUERN_ERROR(Value(std::string(40, '[') + std::string(40, ']')), ErrorCode::kLimitExceeded);
  EXPECT_QUERN_ERROR(Value(std::string(kMaxFrontMatterBytes, 'x')), ErrorCode::kLimitExceeded);
}

TEST(FrontMatter, RefusesBrokenYamlAndSaysWhere) {
  const Error error = testing::ErrorOf([] { Parse("---\na: 1\nb: [1, 2\nc: }\n---\n"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadText);
  EXPECT_EQ(error.where().file, "README.md");
  EXPECT_EQ(error.where().subject.substr(0, 5), "line ");
  for (const char* yaml : {"\"\\q\"", "a: b: c", "!<", "*nobody", "&a &b c", "%x"}) {
    EXPECT_QUERN_ERROR(Value(yaml), ErrorCode::kBadText) << yaml;
  }
  EXPECT_QUERN_ERROR(Parse("---\na: \xff\n---\n"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Parse("---\na: 1\n...\nb: 2\n---\n"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Parse("---\n? [a, b]\n: 1\n---\n"), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace quern::formats::huggingface
