#include <gtest/gtest.h>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/core/json.h"
#include "formats/core/output_file.h"
#include "formats/core/tensor_type.h"
#include "formats/core/utf8.h"
#include "tests/support/fixtures.h"

namespace quern {
namespace {

using testing::Bytes;
using testing::TempFolder;

TEST(Error, SaysFilePlaceAndSubjectInOnePrintableLine) {
  const Error error(ErrorCode::kBadValue, {"a.gguf", 12, "general.\x1b[31mname"}, "is wrong");
  EXPECT_STREQ(error.what(), "a.gguf: at byte 12: general.\\x1b[31mname: is wrong");
  EXPECT_EQ(ExitCode(error.code()), 3);
}

TEST(Printable, EscapesControlsAndInvalidUtf8AndCutsLongText) {
  EXPECT_EQ(Printable("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(Printable("a\nb\xff\xc2\x9b"), "a\\x0ab\\xff\\xc2\\x9b");
  EXPECT_EQ(Printable(std::string(300, 'x')), std::string(200, 'x') + "...");
}

TEST(Utf8, RejectsOverlongSurrogatesAndBeyondUnicode) {
  EXPECT_TRUE(IsValidUtf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
  for (const char* bad :
       {"\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x82"}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
}

TEST(Utf8, RoundTripsEveryCodePoint) {
  for (char32_t c = 1; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    AppendUtf8(c, text);
    size_t at = 0;
    ASSERT_EQ(NextCodePoint(text, at), c);
    ASSERT_EQ(at, text.size());
  }
}

TEST(CheckedMath, FindsOverflowBehindAZero) {
  const uint64_t big = uint64_t{1} << 32;
  EXPECT_FALSE(CheckedProduct(std::vector<uint64_t>{big, big}));
  EXPECT_FALSE(CheckedProduct(std::vector<uint64_t>{0, big, big}));
  EXPECT_EQ(CheckedProduct(std::vector<uint64_t>{0, big}), 0u);
}

TEST(TensorType, NamesAndIdsFindTheSameType) {
  for (const auto& info : TensorTypes()) {
    EXPECT_EQ(TensorTypeFromName(info.name), info.type);
    if (info.gguf_id >= 0) {
      EXPECT_EQ(TensorTypeFromGgufId(static_cast<uint32_t>(info.gguf_id)), info.type);
    }
  }
  EXPECT_EQ(TensorBytes(TensorType::kQ4_K, std::vector<uint64_t>{2, 512}), 576u);
  EXPECT_FALSE(TensorBytes(TensorType::kQ4_K, std::vector<uint64_t>{2, 288}));
  EXPECT_FALSE(
      TensorBytes(TensorType::kF32, std::vector<uint64_t>{uint64_t{1} << 32, uint64_t{1} << 32}));
}

TEST(ByteReader, NeverReadsOrAllocatesBeyondTheEnd) {
  Bytes bytes;
  bytes.Put<uint32_t>(0x01020304).Put<uint16_t>(7);
  ByteReader reader(std::span<const uint8_t>(bytes), "x");
  EXPECT_EQ(reader.Read<uint32_t>("a"), 0x01020304u);
  EXPECT_QUERN_ERROR(reader.Read<uint32_t>("b"), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(reader.ReadString(~uint64_t{0}, "s"), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(reader.ReadArray<double>(uint64_t{1} << 61, "v"), ErrorCode::kTruncated);
  reader.set_endian(std::endian::big);
  EXPECT_EQ(reader.Read<uint16_t>("c"), 0x0700);
}

TEST(ByteReader, ReadsAFileThroughItsWindow) {
  const TempFolder folder;
  std::vector<uint8_t> data(200'000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 7);
  const File file = File::Open(folder.Write("f", data));
  ByteReader reader(file);
  reader.Skip(65'535, "gap");
  EXPECT_EQ(reader.Read<uint8_t>("x"), data[65'535]);
  EXPECT_EQ(reader.ReadArray<uint8_t>(100'000, "y"),
            std::vector<uint8_t>(data.begin() + 65'536, data.begin() + 165'536));
  EXPECT_EQ(reader.offset(), 165'536u);
}

TEST(Json, RefusesWhatIsAmbiguousOrDeep) {
  EXPECT_QUERN_ERROR(ParseJson(R"({"a":1,"b":{"c":1,"c":2}})", "f"), ErrorCode::kDuplicate);
  EXPECT_QUERN_ERROR(ParseJson("{} x", "f"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(ParseJson("\"\xff\"", "f"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(ParseJson("[NaN]", "f"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(ParseJson("[1e400]", "f"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(ParseJson("", "f"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(ParseJson(std::string_view("{}\0x", 4), "f"), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(ParseJson(std::string(100'000, '['), "f"), ErrorCode::kLimitExceeded);
  EXPECT_EQ(ParseJson("\xef\xbb\xbf{\"a\":[1,2]}", "f")["a"][1], 2);
}

TEST(Json, NamesTheDuplicateKeyAndThePlaceOfASyntaxError) {
  const Error twice = testing::ErrorOf([] { ParseJson(R"({"a":[{}],"b":1,"a":2})", "f"); });
  EXPECT_EQ(twice.where().subject, "a");
  const Error syntax = testing::ErrorOf([] { ParseJson("[1,]", "f", {.base_offset = 8}); });
  EXPECT_EQ(syntax.where().offset, 11u);
}

// The callback parser of nlohmann/json needs quadratic time for this: minutes instead of a second.
TEST(Json, ReadsAnObjectOfManyObjectsInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += "\"" + std::to_string(i) + "\":{\"x\":[1]},";
  text.back() = '}';
  EXPECT_EQ(ParseJson(text, "f").size(), 300'000u);
}

TEST(OutputFile, AppearsOnlyWhenCommitted) {
  const TempFolder folder;
  const auto path = folder.path() / "out";
  const std::vector<uint8_t> data = {1, 2, 3};
  {
    OutputFile file(path, 3, {});
    file.WriteAt(0, data);
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  OutputFile file(path, 3, {});
  EXPECT_QUERN_ERROR(OutputFile(path, 3, {}), ErrorCode::kExists);
  file.WriteAt(0, data);
  file.Commit();
  EXPECT_EQ(std::filesystem::file_size(path), 3u);
  EXPECT_QUERN_ERROR(OutputFile(path, 3, {}), ErrorCode::kExists);
}

TEST(OutputFile, SaysThatTheDiskIsTooSmallBeforeItWrites) {
  const TempFolder folder;
  EXPECT_QUERN_ERROR(OutputFile(folder.path() / "out", uint64_t{1} << 60, {}),
                     ErrorCode::kDiskFull);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace quern
