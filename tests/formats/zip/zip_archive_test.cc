#include "formats/zip/zip_archive.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/formats/zip/zip_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::zip {
namespace {

using testing::BuildZip;
using testing::Le;
using testing::RawDeflate;
using testing::TempFolder;
using testing::ZipFile;
using testing::ZipMember;

std::string Text(size_t bytes, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>('a' + random() % 5);
  return text;
}

// Opens the archive and reads every member through.
void ReadAll(const std::string& bytes) {
  static const TempFolder folder;
  const File file = File::Open(folder.Write("a.zip", bytes));
  const Archive archive(file);
  for (const auto& member : archive.members()) {
    archive.Verify(member);
    std::vector<uint8_t> data(member.size);
    archive.Read(member, 0, data);
  }
}

void ExpectRefused(const ZipFile& zip, ErrorCode code) {
  EXPECT_QUERN_ERROR(ReadAll(BuildZip(zip)), code);
}

TEST(ZipArchive, ReadsEveryKindOfMember) {
  const TempFolder folder;
  const std::string a = Text(70'000, 1), b = Text(200'000, 2);
  for (const bool zip64 : {false, true}) {
    const ZipFile zip{
        .members =
            {{.name = "x/stored", .data = a, .zip64 = zip64},
             {.name = "x/deflated", .data = b, .deflate = true},
             {.name = "x/late", .data = a, .deflate = true, .descriptor = true, .zip64 = zip64},
             {.name = "x/", .data = ""}},
        .zip64 = zip64};
    const File file = File::Open(folder.Write("a.zip", BuildZip(zip)));
    const Archive archive(file);
    EXPECT_EQ(archive.ReadSmall(*archive.Find("x/stored"), 1 << 20), a);
    EXPECT_EQ(archive.ReadSmall(*archive.Find("x/deflated"), 1 << 20), b);
    EXPECT_EQ(archive.ReadSmall(*archive.Find("x/late"), 1 << 20), a);
    EXPECT_EQ(archive.Find("x/none"), nullptr);
    EXPECT_QUERN_ERROR(archive.ReadSmall(*archive.Find("x/late"), 100), ErrorCode::kLimitExceeded);
  }
}

TEST(ZipArchive, ReadsDeflatedMembersAtAnyOffsetFromManyThreads) {
  const TempFolder folder;
  const std::string data = Text(300'000);
  const File file = File::Open(
      folder.Write("a.zip", BuildZip({.members = {{.name = "m", .data = data, .deflate = true}}})));
  const Archive archive(file);
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 40; ++i) {
      const size_t begin = random() % data.size();
      std::vector<uint8_t> out(random() % std::min<size_t>(5000, data.size() - begin));
      archive.Read(archive.members()[0], begin, out);
      ASSERT_EQ(std::string(out.begin(), out.end()), data.substr(begin, out.size()));
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 12; ++t) threads.emplace_back(work, t);
  for (auto& thread : threads) thread.join();
}

TEST(ZipArchive, FindsABadCrcWhenTheLastByteWasReadInWhateverOrder) {
  const TempFolder folder;
  const std::string data = Text(10'000);
  for (const bool deflate : {false, true}) {
    const File file = File::Open(folder.Write(
        "a.zip",
        BuildZip({.members = {{.name = "m", .data = data, .deflate = deflate, .crc = 1}}})));
    const Archive archive(file);
    std::vector<uint8_t> part(1000);
    for (const uint64_t at : {5000, 0, 9000, 8000, 2000, 1000, 7000, 6000, 3000, 3500}) {
      archive.Read(archive.members()[0], at, part);
    }
    EXPECT_QUERN_ERROR(archive.Read(archive.members()[0], 4000, part), ErrorCode::kMismatch);
  }
}

TEST(ZipArchive, RefusesHeadersThatDisagree) {
  const std::string data = Text(100);
  const ZipMember good{.name = "x/m", .data = data};
  const auto with = [&](auto change) {
    ZipMember member = good;
    change(member);
    return ZipFile{.members = {member}};
  };
  const auto mismatch = ErrorCode::kMismatch;
  ExpectRefused(with([](auto& m) { m.local_name = "x/n"; }), mismatch);
  ExpectRefused(with([](auto& m) { m.local_name = "x/mm"; }), mismatch);
  ExpectRefused(with([](auto& m) { m.local_flags = 0x800; }), mismatch);
  ExpectRefused(with([](auto& m) { m.local_size = 99; }), mismatch);
  ExpectRefused(with([](auto& m) { m.local_crc = 7; }), mismatch);
  ExpectRefused(with([](auto& m) { m.crc = 7; }), mismatch);
  ExpectRefused(with([](auto& m) { m.size = 99; }), mismatch);  // stored in 100 bytes
  ExpectRefused(with([](auto& m) { m.central_offset = 1; }), mismatch);
  // the descriptor behind the data says something else
  ExpectRefused(with([](auto& m) {
                  m.flags = 8;
                  m.after = "PK\x07\x08" + Le(1, 4) + Le(100, 4) + Le(100, 4);
                }),
                mismatch);
}

TEST(ZipArchive, RefusesEncryptedAndUnknownMethods) {
  for (const uint16_t flags : {1, 1 << 5, 1 << 6, 1 << 13}) {
    ExpectRefused({.members = {{.name = "m", .data = "x", .flags = flags}}}, ErrorCode::kBadValue);
  }
  ExpectRefused({.members = {{.name = "m", .data = "x", .method = uint16_t{12}}}},
                ErrorCode::kUnsupported);
}

TEST(ZipArchive, RefusesNamesThatLeaveTheFolder) {
  for (const std::string name :
       {"../../x", "/etc/passwd", "a/../../b", "a\\b", "C:x", "a\nb", "..", "a/..", ""}) {
    SCOPED_TRACE(name);
    ExpectRefused({.members = {{.name = name, .data = "x"}}}, ErrorCode::kUnsafe);
  }
  ExpectRefused(
      {.members = {{.name = "m", .data = "/etc/passwd", .external_attributes = 0120777u << 16}}},
      ErrorCode::kUnsafe);
  EXPECT_NO_THROW(ReadAll(BuildZip({.members = {{.name = "a/..b/c..", .data = "x"}}})));
}

TEST(ZipArchive, RefusesDuplicatesOverlapsAndHiddenBytes) {
  const ZipMember a{.name = "a", .data = Text(50)};
  ExpectRefused({.members = {a, a}}, ErrorCode::kDuplicate);
  // two entries that share the bytes of one member
  ExpectRefused({.members = {a, {.name = "b", .data = Text(50), .central_offset = 0}}},
                ErrorCode::kMismatch);
  // a member inside another member's data
  const std::string inner = BuildZip({.members = {{.name = "b", .data = "evil"}}});
  const std::string local = inner.substr(0, 30 + 1 + 4);
  ExpectRefused({.members = {{.name = "a", .data = local},
                             {.name = "b", .data = "evil", .central_offset = 31}}},
                ErrorCode::kOverlap);
  ExpectRefused({.members = {a}, .prefix = "MZ"}, ErrorCode::kUnusedBytes);
  ExpectRefused({.members = {{.name = "a", .data = "x", .after = "hidden"}, {.name = "b"}}},
                ErrorCode::kUnusedBytes);
  ExpectRefused({.members = {a}, .before_end = "hidden"}, ErrorCode::kUnusedBytes);
}

TEST(ZipArchive, RefusesASecondEndRecordInTheComment) {
  const std::string end = "PK\x05\x06" + std::string(18, '\0');
  ExpectRefused({.members = {{.name = "a", .data = "x"}}, .comment = end}, ErrorCode::kDuplicate);
  EXPECT_NO_THROW(ReadAll(BuildZip({.members = {{.name = "a", .data = "x"}}, .comment = "hi"})));
}

TEST(ZipArchive, RefusesLyingDirectories) {
  const ZipMember a{.name = "a", .data = "x"};
  ExpectRefused({.members = {a}, .entries = uint16_t{2}}, ErrorCode::kTruncated);
  ExpectRefused({.members = {a, {.name = "b"}}, .entries = uint16_t{1}}, ErrorCode::kUnusedBytes);
  ExpectRefused({.members = {a}, .directory_offset = 0xfffffff0}, ErrorCode::kOutOfBounds);
  ExpectRefused({.members = {a}, .zip64 = true, .zip64_entries = 2}, ErrorCode::kMismatch);
  ExpectRefused(
      {.members = {a}, .zip64 = true, .entries = uint16_t{0xffff}, .zip64_entries = ~uint64_t{0}},
      ErrorCode::kTruncated);
  ExpectRefused({.members = {a}, .zip64 = true, .zip64_offset = ~uint64_t{0}},
                ErrorCode::kOutOfBounds);
  ExpectRefused({.members = {a}, .zip64 = true, .zip64_offset = 0}, ErrorCode::kOutOfBounds);
  ExpectRefused({.members = {{.name = "a", .data = "x", .central_offset = 0xfffffff0}}},
                ErrorCode::kOutOfBounds);
}

TEST(ZipArchive, RefusesLyingZip64Fields) {
  ZipMember member{.name = "a", .data = Text(64)};
  member.central_extra = Le(1, 2) + Le(8, 2) + Le(1, 8);  // a field that nothing asked for
  ExpectRefused({.members = {member}}, ErrorCode::kMismatch);
  member.central_extra = Le(1, 2) + Le(16, 2) + Le(64, 8) + Le(64, 8);  // nor for these: but right
  EXPECT_NO_THROW(ReadAll(BuildZip({.members = {member}})));
  member.central_extra = "";
  member.size = 0xffffffff;  // a placeholder without its field
  ExpectRefused({.members = {member}}, ErrorCode::kMissing);
  member.size = uint64_t{1} << 62;
  member.compressed_size = uint64_t{1} << 62;
  member.zip64 = true;
  ExpectRefused({.members = {member}}, ErrorCode::kOutOfBounds);
  member.compressed_size = ~uint64_t{0};
  member.size = ~uint64_t{0};
  ExpectRefused({.members = {member}}, ErrorCode::kOutOfBounds);
  member = {.name = "a", .data = "x", .central_extra = Le(1, 2) + Le(200, 2)};
  ExpectRefused({.members = {member}}, ErrorCode::kMismatch);
}

TEST(ZipArchive, RefusesDeflateStreamsThatLie) {
  const std::string data = Text(5000);
  const std::string packed = RawDeflate(data);
  const auto deflated = [&](auto change) {
    ZipMember member{.name = "m", .data = data, .deflate = true};
    change(member);
    return ZipFile{.members = {member}};
  };
  ExpectRefused(deflated([](auto& m) { m.size = 4999; }), ErrorCode::kMismatch);
  ExpectRefused(deflated([](auto& m) { m.size = 5001; }), ErrorCode::kTruncated);
  ExpectRefused(deflated([&](auto& m) { m.raw = packed + "more"; }), ErrorCode::kMismatch);
  ExpectRefused(deflated([&](auto& m) { m.raw = packed.substr(0, packed.size() / 2); }),
                ErrorCode::kTruncated);
  ExpectRefused(deflated([&](auto& m) { m.raw = std::string(100, '\xff'); }), ErrorCode::kBadValue);
  // a bomb's claim is checked against what deflate can do before a byte is inflated
  ExpectRefused(deflated([](auto& m) { m.size = uint64_t{1} << 31; }), ErrorCode::kMismatch);
}

TEST(ZipArchive, RefusesEveryTruncation) {
  const std::string whole =
      BuildZip({.members = {{.name = "x/a", .data = Text(40)},
                            {.name = "x/b", .data = Text(60), .deflate = true, .descriptor = true}},
                .zip64 = true});
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_QUERN_ERROR(ReadAll(whole.substr(0, length)), ErrorCode::kTruncated);
  }
}

TEST(ZipArchive, NoFlippedBitChangesWhatIsRead) {
  const std::string a = Text(40, 3), b = Text(60, 4);
  const std::string whole = BuildZip(
      {.members = {{.name = "x/a", .data = a}, {.name = "x/b", .data = b, .deflate = true}}});
  const TempFolder folder;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    try {
      const File file = File::Open(folder.Write("a.zip", bytes));
      const Archive archive(file);
      for (const auto& member : archive.members()) {
        const std::string text = archive.ReadSmall(member, 1 << 20);
        ASSERT_TRUE(text == a || text == b) << at;
      }
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace quern::formats::zip
