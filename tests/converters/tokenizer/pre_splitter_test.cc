#include "converters/tokenizer/pre_splitter.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <set>
#include <sstream>

#include "converters/tokenizer/pre_hashes.h"
#include "formats/core/utf8.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Words(std::string_view pre, std::string_view text) {
  const std::vector<char32_t> characters = DecodeUtf8(text);
  std::vector<std::string> words;
  size_t at = 0;
  for (const size_t length : PreSplitter(*FindPreRule(pre)).Split(characters)) {
    words.emplace_back();
    for (size_t i = 0; i < length; ++i) AppendUtf8(characters[at++], words.back());
  }
  return words;
}

TEST(PreRules, NameEveryPreTokenizerOnce) {
  std::set<std::string> names;
  for (const PreRule& rule : PreRules()) {
    std::istringstream list{std::string(rule.names)};
    for (std::string name; list >> name;) {
      EXPECT_TRUE(names.insert(name).second) << name;
      EXPECT_EQ(FindPreRule(name), &rule) << name;
    }
  }
  EXPECT_GE(names.size(), 79u);
  EXPECT_EQ(FindPreRule("gpt"), nullptr);
  EXPECT_EQ(FindPreRule(""), nullptr);
}

TEST(PreRules, KnowWhatConversionWrites) {
  // WordPiece tokenizers have hashes too; kimi-k25 is not known to llama.cpp's tokenizer.
  const std::set<std::string_view> others = {"bert-bge-large", "jina-v2-en", "kimi-k25"};
  for (const PreHash& hash : PreHashes()) {
    if (!others.contains(hash.name)) {
      EXPECT_NE(FindPreRule(hash.name), nullptr) << hash.name;
    }
  }
}

TEST(PreSplitter, LosesNothing) {
  const std::vector<char32_t> text = DecodeUtf8(kPreCheckText);
  for (const PreRule& rule : PreRules()) {
    const auto lengths = PreSplitter(rule).Split(text);
    EXPECT_EQ(std::accumulate(lengths.begin(), lengths.end(), size_t{0}), text.size())
        << rule.names;
    EXPECT_EQ(std::count(lengths.begin(), lengths.end(), 0u), 0) << rule.names;
    EXPECT_TRUE(PreSplitter(rule).Split({}).empty());
  }
}

TEST(PreSplitter, CutsWordsAsTheNamesSay) {
  EXPECT_THAT(Words("gpt-2", "I'll  go 12345!\n"),
              ElementsAre("I", "'ll", " ", " go", " 12345", "!", "\n"));
  EXPECT_THAT(Words("llama-bpe", "I'LL  go 12345!\n"),
              ElementsAre("I", "'LL", " ", " go", " ", "123", "45", "!\n"));
  EXPECT_THAT(Words("qwen2", "12\n\n x"), ElementsAre("1", "2", "\n\n", " x"));
  EXPECT_THAT(Words("tekken", "camelCase HTTPServer"), ElementsAre("camel", "Case", " HTTPServer"));
  EXPECT_THAT(Words("smollm", "a12"), ElementsAre("a", "1", "2"));
  EXPECT_THAT(Words("superbpe", "of 12345 and 123"),
              ElementsAre("of ", "12", "345", " and ", "123"));
  EXPECT_THAT(Words("tiny_aya", "1234567 12a"), ElementsAre("1", "234", "567", " ", "12", "a"));
  EXPECT_THAT(Words("afmoe", "12345"), ElementsAre("12", "345"));
  EXPECT_THAT(Words("kimi-k2", "a\u4f60\u597dIt's"), ElementsAre("a", "\u4f60\u597d", "It's"));
  EXPECT_THAT(Words("gemma4", "a b\n\nc"), ElementsAre("a b", "\n\n", "c"));
}

TEST(PreSplitter, TakesWhiteSpaceOfAllScripts) {
  EXPECT_THAT(Words("gpt-2", "a\u00a0\u00a0b"), ElementsAre("a", "\u00a0", "\u00a0", "b"));
  EXPECT_THAT(Words("deepseek-llm", "a\u3000b"), ElementsAre("a", "\u3000b"));
}

TEST(PreSplitterSlow, TakesLongRunsInOneGo) {
  for (const char* run : {"a", "7", " ", "\n", "\u4f60", "~", "a "}) {
    std::string text;
    while (text.size() < 300'000) text += run;
    for (const char* pre :
         {"default", "gpt-2", "llama-bpe", "qwen2", "tekken", "gpt-4o", "kimi-k2", "deepseek-v3",
          "afmoe", "exaone-moe", "gemma4", "bloom", "superbpe", "tiny_aya"}) {
      EXPECT_FALSE(Words(pre, text).empty()) << pre;
    }
  }
}

// The classes of all characters are those of llama.cpp's tables.
TEST(PreSplitter, ClassesEqualTheOraclesTables) {
  const auto oracle = testing::OracleLibraries();
  if (!oracle) GTEST_SKIP() << "llama.cpp's libraries are not here";
  void* library = nullptr;
  for (const char* prefix : {"libggml-base.so", "libggml.v", "libllama.v"}) {
    for (const auto& entry : std::filesystem::directory_iterator(*oracle)) {
      if (entry.path().filename().string().starts_with(prefix))
        library = dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL);
    }
  }
  auto* flags_of = library == nullptr ? nullptr
                                      : reinterpret_cast<uint16_t (*)(uint32_t)>(
                                            dlsym(library, "_Z26unicode_cpt_flags_from_cptj"));
  if (flags_of == nullptr) GTEST_SKIP() << "this release does not show its tables";
  constexpr uint16_t kWhitespace = 0x100;
  for (char32_t c = 0x80; c < 0x110000; ++c) {
    const uint16_t flags = flags_of(c);
    const uint8_t expected = flags & kWhitespace ? kClassSpace
                             : flags & 0x02      ? kClassNumber
                             : flags & 0x04      ? kClassLetter
                             : flags & 0x10      ? kClassMark
                             : flags & 0x20      ? kClassPunctuation
                             : flags & 0x40      ? kClassSymbol
                                                 : kClassOther;
    uint8_t ours = ClassOf(c);
    if (ours == kClassHanLetter) ours = kClassLetter;
    if (ours == kClassHanOther) ours = kClassOther;
    ASSERT_EQ(ours, expected) << std::hex << static_cast<uint32_t>(c);
  }
}

}  // namespace
}  // namespace quern::converters
