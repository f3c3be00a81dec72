#include "formats/checksums/checksum_list.h"

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace quern::formats::checksums {
namespace {

const std::string kSha = std::string(63, 'a') + "1";
const std::string kMd5 = std::string(31, 'b') + "2";

std::vector<Checksum> Parse(const std::string& text) { return ParseChecksums(text, "SHA256SUMS"); }

TEST(ChecksumList, ReadsEveryForm) {
  const auto list =
      Parse("# made by hand\r\n" + kSha + "  a b.gguf\r\n\n" + kSha + " *c\n" + kMd5 +
            "  consolidated.00.pth\n\\" + kSha + "  new\\nline\\\\\nSHA256 (d (1)) = " + kSha +
            "\nMD5 (e) = " + kMd5 + "\n" + kSha + " one-blank");
  ASSERT_EQ(list.size(), 7u);
  const std::vector<std::string> names = {
      "a b.gguf", "c", "consolidated.00.pth", "new\nline\\", "d (1)", "e", "one-blank"};
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(list[i].name, names[i]);
  EXPECT_EQ(list[0].digest, kSha);
  EXPECT_EQ(list[2].digest, kMd5);
}

TEST(ChecksumList, ReadsUpperCaseAndADigestAlone) {
  const auto list = Parse(std::string(64, 'F') + "\n");
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].digest, std::string(64, 'f'));
  EXPECT_EQ(list[0].name, "");
  EXPECT_TRUE(Parse("").empty());
}

TEST(ChecksumList, RejectsLinesThatAreNone) {
  for (const std::string& line : std::vector<std::string>{
           kSha.substr(1) + "  a", kSha + "0  a", "g" + kSha.substr(1) + "  a", kSha + "  ",
           std::string("a  ") + kSha, "<html>", "SHA256 (a) = 12", "\\" + kSha + "  a\\q",
           "\\" + kSha + "  a\\", std::string(100, '\0')}) {
    EXPECT_QUERN_ERROR(Parse(line), ErrorCode::kBadText);
  }
}

TEST(ChecksumList, RejectsTwoDigestsOfOneName) {
  EXPECT_EQ(Parse(kSha + "  a\n" + kSha + "  a\n" + kMd5 + "  a\n").size(), 3u);
  EXPECT_QUERN_ERROR(Parse(kSha + "  a\n" + std::string(64, 'c') + "  a\n"), ErrorCode::kDuplicate);
}

}  // namespace
}  // namespace quern::formats::checksums
