#include "converters/journal.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using testing::TempFolder;

const Identity kIdentity = [] {
  Identity identity;
  for (size_t i = 0; i < identity.size(); ++i) identity[i] = static_cast<uint8_t>(i);
  return identity;
}();
constexpr size_t kHead = 48;
constexpr size_t kRecord = 40;

std::vector<uint8_t> BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<JournalSlab> SomeSlabs() {
  return {{0, 0, 16, 0x1234}, {7, 16, 1, 5}, {uint64_t{1} << 40, 3, 9, ~uint64_t{0}}};
}

std::vector<uint8_t> SomeJournal(const TempFolder& folder) {
  const std::string path = (folder.path() / "journal").string();
  Journal journal(path, kIdentity);
  for (const JournalSlab& slab : SomeSlabs()) journal.Append(slab);
  return BytesOf(path);
}

TEST(Journal, GivesBackWhatWasAppended) {
  const TempFolder folder;
  const std::vector<uint8_t> bytes = SomeJournal(folder);
  EXPECT_EQ(bytes.size(), kHead + 3 * kRecord);
  const auto contents = ParseJournal(bytes);
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->identity, kIdentity);
  EXPECT_EQ(contents->slabs, SomeSlabs());
  EXPECT_EQ(contents->bytes, bytes.size());
}

TEST(Journal, LeavesOutATornTailAndGoesOnBeforeIt) {
  const TempFolder folder;
  std::vector<uint8_t> bytes = SomeJournal(folder);
  bytes.erase(bytes.end() - 7, bytes.end());
  const std::string path = folder.Write("torn", std::span<const uint8_t>(bytes)).string();
  const auto contents = ReadJournal(path);
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->slabs.size(), 2u);
  {
    Journal journal(path, *contents);
    journal.Append({1, 2, 3, 4});
    journal.Keep(true);
  }
  const auto again = ReadJournal(path);
  ASSERT_TRUE(again);
  ASSERT_EQ(again->slabs.size(), 3u);
  EXPECT_EQ(again->slabs.back(), (JournalSlab{1, 2, 3, 4}));
}

TEST(Journal, EveryChangedByteCostsItsRecordAndNoOther) {
  const TempFolder folder;
  const std::vector<uint8_t> bytes = SomeJournal(folder);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<uint8_t> changed = bytes;
    changed[i] ^= 0x10;
    const auto contents = ParseJournal(changed);
    if (i < kHead) {
      EXPECT_FALSE(contents) << i;
      continue;
    }
    ASSERT_TRUE(contents) << i;
    std::vector<JournalSlab> expected = SomeSlabs();
    expected.erase(expected.begin() + static_cast<ptrdiff_t>((i - kHead) / kRecord));
    EXPECT_EQ(contents->slabs, expected) << i;
  }
}

TEST(Journal, GoesUnlessItIsToBeKept) {
  const TempFolder folder;
  const std::string path = (folder.path() / "journal").string();
  Journal(path, kIdentity).Keep(true);
  EXPECT_TRUE(ReadJournal(path));
  { const Journal journal(path, kIdentity); }
  EXPECT_FALSE(ReadJournal(path));
}

TEST(Journal, EveryCutGivesTheWholeRecordsBeforeIt) {
  const TempFolder folder;
  const std::vector<uint8_t> bytes = SomeJournal(folder);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto contents = ParseJournal(std::span(bytes).first(size));
    ASSERT_EQ(contents.has_value(), size >= kHead);
    if (!contents) continue;
    EXPECT_EQ(contents->slabs.size(), (size - kHead) / kRecord);
  }
}

}  // namespace
}  // namespace quern::converters
