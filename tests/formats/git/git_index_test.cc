#include "formats/git/git_index.h"

#include <gtest/gtest.h>

#include "tests/formats/git/git_index_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::git {
namespace {

using quern::testing::IndexBytes;

std::vector<IndexEntry> Parse(const std::string& bytes) {
  ByteReader reader({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "index");
  return ParseIndex(reader);
}

TEST(GitIndex, ReadsEntriesOfVersions2And3) {
  const auto entries = Parse(IndexBytes(3, 4)
                                 .Entry("a")
                                 .Entry("sub/model.gguf", 0x4000, 0x4000)
                                 .Entry("unmerged", 0x1000)
                                 .Entry("link", 0, 0, 0120000)
                                 .bytes());
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].path, "a");
  EXPECT_EQ(entries[0].sha1, "abababababababababababababababababababab");
  EXPECT_TRUE(entries[0].in_work_tree && entries[0].IsFile());
  EXPECT_EQ(entries[1].path, "sub/model.gguf");
  EXPECT_FALSE(entries[1].in_work_tree);
  EXPECT_FALSE(entries[2].in_work_tree);
  EXPECT_TRUE(entries[3].IsLink());
}

TEST(GitIndex, JoinsNamesOfVersion4) {
  const auto entries = Parse(IndexBytes(4, 3)
                                 .Entry(std::string("\0sub/one", 8))
                                 .Entry("\x03two")
                                 .Entry("\x07"
                                        "z")
                                 .bytes());
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].path, "sub/one");
  EXPECT_EQ(entries[1].path, "sub/two");
  EXPECT_EQ(entries[2].path, "z");
}

TEST(GitIndex, RejectsNamesThatLeaveTheWorkTree) {
  for (const char* name : {"../x", "/x", "a/../../x", "", "a//b", ".git/config", "a/.git/x", "."}) {
    EXPECT_QUERN_ERROR(Parse(IndexBytes(2, 1).Entry(name).bytes()), ErrorCode::kUnsafe);
  }
}

TEST(GitIndex, RejectsWhatIsNoIndex) {
  EXPECT_QUERN_ERROR(Parse("PACK" + std::string(60, '\0')), ErrorCode::kBadMagic);
  EXPECT_QUERN_ERROR(Parse(IndexBytes(1, 0).bytes()), ErrorCode::kBadVersion);
  EXPECT_QUERN_ERROR(Parse(IndexBytes(5, 0).bytes()), ErrorCode::kBadVersion);
  EXPECT_QUERN_ERROR(Parse(IndexBytes(2, 0xffffffff).Entry("a").bytes()), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(Parse(IndexBytes(4, 1)
                               .Entry("\x05"
                                      "a")
                               .bytes()),
                     ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(IndexBytes(2, 1).Entry(std::string(5000, 'a')).bytes()),
                     ErrorCode::kBadValue);
  const std::string whole = IndexBytes(2, 2).Entry("a").Entry("b").bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(Parse(whole.substr(0, size)), Error) << size;
  }
}

TEST(GitIndex, RefusesASplitIndexAndKnowsSparseEntries) {
  EXPECT_QUERN_ERROR(Parse(quern::testing::SplitIndexBytes()), ErrorCode::kUnsupported);
  const auto entries =
      Parse(IndexBytes(3, 2).Entry("a", 0x4000, 0x4000).Entry("b", 0x4000, 0x2000).bytes());
  EXPECT_TRUE(entries[0].skip_worktree);
  EXPECT_FALSE(entries[1].skip_worktree);
}

}  // namespace
}  // namespace quern::formats::git
