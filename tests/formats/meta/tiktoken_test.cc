#include "formats/meta/tiktoken.h"

#include <gtest/gtest.h>

#include <string>

#include "formats/core/file.h"
#include "tests/support/fixtures.h"

namespace quern::formats::meta {
namespace {

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

// All bytes, then `more`.
std::string File(const std::vector<std::string>& more) {
  std::string text;
  size_t rank = 0;
  const auto add = [&](std::string_view token) {
    text += Base64(token) + " " + std::to_string(rank++) + "\n";
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const auto& token : more) add(token);
  return text;
}

TEST(Tiktoken, ReadsTokensByRank) {
  const std::string text = File({"ab", "abc", std::string("\0\xff", 2)});
  EXPECT_TRUE(LooksLikeTiktoken(text));
  const auto tokens = ParseTiktoken(text, "t");
  ASSERT_EQ(tokens.size(), 259u);
  EXPECT_EQ(tokens[0], std::string(1, '\0'));
  EXPECT_EQ(tokens[257], "abc");
  EXPECT_EQ(tokens[258], std::string("\0\xff", 2));
}

TEST(Tiktoken, ListsAllSplitsByTheRanksOfTheirParts) {
  const auto tokens = ParseTiktoken(File({"bc", "ab", "abc"}), "t");
  std::string found;
  for (const auto& merge : TiktokenMerges(tokens)) {
    found += tokens[merge.left] + "+" + tokens[merge.right] + " ";
  }
  EXPECT_EQ(found, "b+c a+b a+bc ab+c ");
}

TEST(Tiktoken, ReadsRealFiles) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/pytorch/meta/tiktoken_small.model");
  const auto tokens = ParseTiktoken(ReadTextFile(path, kMaxTiktokenBytes), path.string());
  EXPECT_EQ(tokens.size(), 2000u);
}

TEST(Tiktoken, IsToldFromSentencePiece) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/llama2c/tok512.model");
  EXPECT_FALSE(LooksLikeTiktoken(ReadTextFile(path, kMaxTiktokenBytes)));
  EXPECT_FALSE(LooksLikeTiktoken(""));
  EXPECT_FALSE(LooksLikeTiktoken("version https://git-lfs.github.com/spec/v1\n"));
}

TEST(Tiktoken, RejectsLinesOfAnotherForm) {
  for (const char* line :
       {"AA== 0\nAQ=\n", "AA==\n", "AA== x\n", "AA== -1\n", "AA==  0\n", "A!== 0\n", "AB== 0\n",
        " 0\n", "==== 0\n", "\n", "AA== 0 \n", "AA== 99999999999999999999\n"}) {
    EXPECT_ANY_THROW(ParseTiktoken(line, "t")) << line;
  }
  EXPECT_QUERN_ERROR(ParseTiktoken("A!== 0\n", "t"), ErrorCode::kBadText);
}

TEST(Tiktoken, RejectsRanksThatDoNotCount) {
  EXPECT_QUERN_ERROR(ParseTiktoken("AA== 1\n", "t"), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(ParseTiktoken("AA== 0\nAQ== 0\n", "t"), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(ParseTiktoken("AA== 18446744073709551615\n", "t"), ErrorCode::kBadValue);
}

TEST(Tiktoken, RejectsWhatIsNoWholeVocabulary) {
  EXPECT_QUERN_ERROR(ParseTiktoken(File({"ab", "ab"}), "t"), ErrorCode::kDuplicate);
  EXPECT_QUERN_ERROR(ParseTiktoken("AA== 0\n", "t"), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(ParseTiktoken("", "t"), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(ParseTiktoken(File({std::string(kMaxTiktokenTokenBytes + 1, 'x')}), "t"),
                     ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace quern::formats::meta
