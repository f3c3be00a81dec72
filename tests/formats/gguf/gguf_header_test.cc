#include "formats/gguf/gguf_header.h"

#include <gtest/gtest.h>

#include <limits>

#include "formats/gguf/gguf_format.h"
#include "formats/gguf/gguf_writer.h"
#include "tests/formats/gguf/gguf_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::gguf {
namespace {

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kF32 = 0, kF16 = 1, kQ4_K = 12, kI8 = 24;

struct BadCase {
  std::string name;
  ErrorCode code;
  GgufBytes bytes;
};

void PrintTo(const BadCase& bad, std::ostream* out) { *out << bad.name; }

GgufBytes Key(std::string_view key, ValueType type) {
  return GgufBytes().Head(0, 1).Key(key, type);
}
GgufBytes Alignment(const Value& value) { return GgufBytes().Head(0, 1).Key(kAlignmentKey, value); }
GgufBytes OneTensor(const std::vector<uint64_t>& ne, uint32_t type, uint64_t offset = 0,
                    uint64_t data = 1024) {
  return GgufBytes().Head(1, 0).Tensor("x.weight", ne, type, offset).Pad().Zeros(data);
}
// Two tensors of 8 floats (32 bytes) each.
GgufBytes TwoTensors(uint64_t first, uint64_t second, uint64_t data = 64) {
  return GgufBytes()
      .Head(2, 0)
      .Tensor("a", {8}, kF32, first)
      .Tensor("b", {8}, kF32, second)
      .Pad()
      .Zeros(data);
}
GgufBytes Joined() {
  GgufBytes bytes = TwoTensors(0, 32);
  return bytes.Raw(std::string(bytes.data().begin(), bytes.data().end()));
}

std::vector<BadCase> BadHeads() {
  using enum ErrorCode;
  return {
      {"Empty", kTruncated, GgufBytes()},
      {"MagicOnly", kTruncated, GgufBytes().Raw("GGUF")},
      {"OtherMagic", kBadMagic, GgufBytes().Raw("<!DOCTYPE html>")},
      {"SwappedMagic", kBadMagic, GgufBytes().Raw("FUGG").Put(3u).Size(0).Size(0)},
      {"VersionOnly", kTruncated, GgufBytes().Raw("GGUF").Put(3u)},
      {"Version0", kBadVersion, GgufBytes(0).Head(0, 0)},
      {"Version4", kBadVersion, GgufBytes(4).Head(0, 0)},
      {"Version2To31", kBadVersion, GgufBytes(1u << 31).Head(0, 0)},
      {"BigEndianVersion1", kBadVersion, GgufBytes(1, std::endian::big).Head(0, 0)},
      {"BigEndianVersion2", kBadVersion, GgufBytes(2, std::endian::big).Head(0, 0)},
      {"BigEndianWithLittleEndianVersion", kMismatch,
       GgufBytes().Raw("GGUF").Put(3u).Put(1ull << 56).Put(2ull << 56)},
      {"LittleEndianWithBigEndianVersion", kMismatch,
       GgufBytes().Raw("GGUF").Put(3u << 24).Put(uint64_t{1}).Put(uint64_t{2})},
      {"AllOnesTensors", kLimitExceeded, GgufBytes().Head(kHuge, 0)},
      {"AllOnesKeys", kLimitExceeded, GgufBytes().Head(0, kHuge)},
      {"TensorsTimesSizeWraps", kLimitExceeded, GgufBytes().Head(kHuge / 64 + 2, 0)},
      {"MoreTensorsThanBytes", kTruncated, GgufBytes().Head(1000, 0).Zeros(1000)},
      {"MoreKeysThanBytes", kTruncated, GgufBytes().Head(0, 1000).Zeros(1000)},
  };
}

std::vector<BadCase> BadKeys() {
  using enum ErrorCode;
  const auto type = [](uint32_t id) { return static_cast<ValueType>(id); };
  GgufBytes nested = Key("k", ValueType::kArray);
  for (int depth = 0; depth < 100000; ++depth) nested.Type(ValueType::kArray).Size(1);
  return {
      {"KeyLengthAllOnes", kTruncated, GgufBytes().Head(0, 1).Size(kHuge).Zeros(32)},
      {"KeyLength0", kBadValue, Key("", ValueType::kUint8).Put<uint8_t>(0).Zeros(8)},
      {"KeyTooLong", kLimitExceeded,
       Key(std::string(kMaxKeyBytes + 1, 'k'), ValueType::kUint8).Zeros(8)},
      {"KeyWithZeroByte", kBadText, Key({"a\0b", 3}, ValueType::kUint8).Zeros(8)},
      {"KeyNotUtf8", kBadText, Key("a\xff", ValueType::kUint8).Zeros(8)},
      {"StringBeyondEnd", kTruncated, Key("k", ValueType::kString).Size(9).Raw("12345678")},
      {"StringOfOneGiB", kTruncated, Key("k", ValueType::kString).Size(1 << 30).Zeros(100)},
      {"StringAllOnes", kTruncated, Key("k", ValueType::kString).Size(kHuge).Zeros(8)},
      {"ValueType13", kBadType, Key("k", type(13)).Zeros(8)},
      {"ValueTypeAllOnes", kBadType, Key("k", type(~0u)).Zeros(8)},
      {"Bool2", kBadValue, Key("k", ValueType::kBool).Put<uint8_t>(2).Zeros(8)},
      {"ArrayOf2To63", kTruncated,
       Key("k", ValueType::kArray).Type(ValueType::kUint8).Size(1ull << 63).Zeros(8)},
      {"ArrayBytesWrap", kTruncated,
       Key("k", ValueType::kArray).Type(ValueType::kUint64).Size(1ull << 61).Zeros(8)},
      {"StringArrayBytesWrap", kTruncated,
       Key("k", ValueType::kArray).Type(ValueType::kString).Size(1ull << 61).Zeros(8)},
      {"ArrayTooLong", kLimitExceeded,
       Key("k", ValueType::kArray)
           .Type(ValueType::kUint8)
           .Size(kMaxArrayItems + 1)
           .Zeros(kMaxArrayItems + 1)},
      {"NestedArray", kBadType, nested},
      {"ArrayOfUnknownType", kBadType, Key("k", ValueType::kArray).Put(77u).Size(1).Zeros(8)},
      {"DuplicateKey", kDuplicate, GgufBytes().Head(0, 2).Key("k", 1u).Key("k", 2u)},
      {"Alignment0", kBadValue, Alignment(0u)},
      {"Alignment1", kBadValue, Alignment(1u)},
      {"Alignment13", kBadValue, Alignment(13u)},
      {"Alignment24", kBadValue, Alignment(24u)},
      {"Alignment2To30", kLimitExceeded, Alignment(1u << 30)},
      {"Alignment2To31", kLimitExceeded, Alignment(1u << 31)},
      {"AlignmentInt32", kBadType, Alignment(int32_t{32})},
      {"AlignmentString", kBadType, Alignment(std::string("32"))},
  };
}

std::vector<BadCase> BadTensors() {
  using enum ErrorCode;
  return {
      {"NameLength0", kBadValue, GgufBytes().Head(1, 0).Tensor("", {8}, kF32, 0).Pad().Zeros(32)},
      {"NameOf64", kLimitExceeded,
       GgufBytes().Head(1, 0).Tensor(std::string(64, 'n'), {8}, kF32, 0).Pad().Zeros(32)},
      {"NameWithZeroByte", kBadText,
       GgufBytes().Head(1, 0).Tensor({"a\0b", 3}, {8}, kF32, 0).Pad().Zeros(32)},
      {"DuplicateName", kDuplicate,
       GgufBytes().Head(2, 0).Tensor("a", {8}, kF32, 0).Tensor("a", {8}, kF32, 32).Pad().Zeros(64)},
      {"NoDimensions", kBadShape, OneTensor({}, kF32)},
      {"FiveDimensions", kBadShape, OneTensor({1, 1, 1, 1, 1}, kF32)},
      {"NineDimensions", kBadShape, OneTensor(std::vector<uint64_t>(9, 1), kF32)},
      {"DimensionsAllOnes", kBadShape, GgufBytes().Head(1, 0).Text("x").Put(~0u).Zeros(64)},
      {"DimensionZero", kBadShape, OneTensor({8, 0}, kF32)},
      {"DimensionNegative", kBadShape, OneTensor({8, kHuge}, kF32)},
      {"ProductWrapsToZero", kBadShape, OneTensor({1ull << 32, 1ull << 32}, kF32)},
      {"ProductWrapsToSmall", kBadShape, OneTensor({(1ull << 42) + 1, 1ull << 22, 1}, kF32)},
      {"BytesWrapButElementsDoNot", kBadShape, OneTensor({1ull << 58, 16}, kF32)},
      {"BytesNearlyWrap", kBadShape, OneTensor({kHuge / 4}, kF32)},
      {"QuantizedBytesWrap", kBadShape, OneTensor({1ull << 62, 3}, kQ4_K)},
      {"TwoHugeInt8", kTruncated,
       GgufBytes()
           .Head(2, 0)
           .Tensor("a", {0x7fffffffffffffc0}, kI8, 0)
           .Tensor("b", {0x7fffffffffffffc0}, kI8, 0x7fffffffffffffc0)
           .Pad()
           .Zeros(64)},
      {"SizeOf32BitsIsSmall", kTruncated, OneTensor({(1ull << 32) + 256}, kI8)},
      {"RowOf288IsNoWholeBlock", kBadShape, OneTensor({288}, kQ4_K)},
      {"RowOf896IsNoWholeBlock", kBadShape, OneTensor({896}, kQ4_K)},
      {"RowOf2688IsNoWholeBlock", kBadShape, OneTensor({2688}, kQ4_K)},
      {"TypeUnknown", kBadType, OneTensor({256}, 1000)},
      {"TypeRemoved", kBadType, OneTensor({256}, 31)},
      {"OffsetBeyondFile", kOutOfBounds, OneTensor({8}, kF32, 1ull << 40)},
      {"OffsetPlusSizeWraps", kOutOfBounds, OneTensor({8}, kF32, kHuge - 31)},
      {"OffsetUnaligned", kBadValue, OneTensor({8}, kF32, 4)},
      {"Overlap", kOverlap, TwoTensors(0, 0)},
      {"HoleAtStart", kUnusedBytes, TwoTensors(32, 64, 96)},
      {"HoleInside", kUnusedBytes, TwoTensors(0, 64, 96)},
      {"OutOfOrder", kBadValue, TwoTensors(32, 0)},
      {"DataCutShort", kTruncated, TwoTensors(0, 32, 63)},
      {"NoDataAtAll", kTruncated, GgufBytes().Head(1, 0).Tensor("t", {256, 100}, kF16, 0)},
      {"TrailingBytes", kUnusedBytes, TwoTensors(0, 32, 65)},
      {"TrailingBytesBeyondPadding", kUnusedBytes, OneTensor({1}, kF32, 0, 33)},
      {"TrailingBytesWithoutTensors", kUnusedBytes, GgufBytes().Head(0, 0).Pad().Zeros(1)},
      {"JoinedFiles", kUnusedBytes, Joined()},
  };
}

class GgufBadHeader : public ::testing::TestWithParam<BadCase> {};

TEST_P(GgufBadHeader, IsRefusedWithItsCode) {
  EXPECT_QUERN_ERROR(ParseBytes(GetParam().bytes), GetParam().code);
}

const auto kNameOf = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Head, GgufBadHeader, ::testing::ValuesIn(BadHeads()), kNameOf);
INSTANTIATE_TEST_SUITE_P(Keys, GgufBadHeader, ::testing::ValuesIn(BadKeys()), kNameOf);
INSTANTIATE_TEST_SUITE_P(Tensors, GgufBadHeader, ::testing::ValuesIn(BadTensors()), kNameOf);

TEST(GgufHeader, NamesFilesJoinedEndToEnd) {
  const auto error = testing::ErrorOf([] { ParseBytes(Joined()); });
  EXPECT_NE(error.message().find("joined end to end"), std::string::npos);
  // The first one without its last padding.
  GgufBytes unpadded = OneTensor({1}, kF32, 0, 4);
  const auto again = testing::ErrorOf([&] { ParseBytes(unpadded.Raw("GGUF").Zeros(40)); });
  EXPECT_NE(again.message().find("joined end to end"), std::string::npos);
}

TEST(GgufHeader, ErrorsNameFileKeyAndOffset) {
  const auto error = testing::ErrorOf([] {
    ParseBytes(GgufBytes().Head(0, 1).Key("some.key", static_cast<ValueType>(99)).Zeros(8));
  });
  EXPECT_EQ(error.where().file, "test.gguf");
  EXPECT_EQ(error.where().subject, "some.key");
  EXPECT_EQ(error.where().offset, 24u + 16 + 4);
}

TEST(GgufHeader, LastPaddingMayBeAbsentOrCutShort) {
  for (const uint64_t data : {4, 5, 31, 32}) {
    EXPECT_EQ(ParseBytes(OneTensor({1}, kF32, 0, data)).tensors.size(), 1u);
  }
  EXPECT_EQ(ParseBytes(GgufBytes().Head(0, 0)).tensors.size(), 0u);
  EXPECT_EQ(ParseBytes(GgufBytes().Head(0, 0).Pad()).tensors.size(), 0u);
}

TEST(GgufHeader, KeepsOrderAndGivesShapesOutermostFirst) {
  const Header header = ParseBytes(GgufBytes()
                                       .Head(2, 2)
                                       .Key("z", 1u)
                                       .Key("a", std::string("x"))
                                       .Tensor("b", {4, 3, 2}, kF32, 0)
                                       .Tensor("a", {2, 1, 1}, kF16, 96)
                                       .Pad()
                                       .Zeros(100));
  EXPECT_EQ(header.metadata.entries()[0].first, "z");
  EXPECT_EQ(header.metadata.entries()[1].first, "a");
  EXPECT_EQ(header.tensors[0].shape, (Shape{2, 3, 4}));
  EXPECT_EQ(header.tensors[0].bytes, 96u);
  EXPECT_EQ(header.tensors[0].offset, header.data_begin);
  EXPECT_EQ(header.tensors[1].shape, (Shape{1, 1, 2}));
  EXPECT_EQ(header.tensors[1].offset, header.data_begin + 96);
}

TEST(GgufHeader, OffsetsAreInTheFileWhenTheReaderCoversPartOfIt) {
  GgufBytes gguf = TwoTensors(0, 32);
  ByteReader reader(gguf, "inside.llamafile", 1000);
  const Header header = ParseHeader(reader);
  EXPECT_EQ(header.data_begin, 1000 + gguf.data().size() - 64);
  EXPECT_EQ(header.tensors[1].offset, header.data_begin + 32);
}

class GgufEncoding : public ::testing::TestWithParam<std::pair<uint32_t, std::endian>> {};

TEST_P(GgufEncoding, ReadsEveryValueType) {
  const auto [version, endian] = GetParam();
  Metadata metadata = MetadataOfAllTypes();
  metadata.Set("general.alignment", 64u);
  GgufBytes bytes(version, endian);
  bytes.Head(2, metadata.size());
  for (const auto& [key, value] : metadata.entries()) bytes.Key(key, value);
  bytes.Tensor("a", {3, 5}, kF32, 0).Tensor("b", {256, 2}, kQ4_K, 64).Pad(64).Zeros(64 + 288);
  const Header header = ParseBytes(bytes);
  EXPECT_EQ(header.version, version);
  EXPECT_EQ(header.endian, endian);
  EXPECT_EQ(header.alignment, 64u);
  EXPECT_EQ(header.metadata, metadata);
  EXPECT_EQ(header.tensors[0].shape, (Shape{5, 3}));
  EXPECT_EQ(header.tensors[1].shape, (Shape{2, 256}));
  EXPECT_EQ(header.tensors[1].offset, header.data_begin + 64);
}

INSTANTIATE_TEST_SUITE_P(VersionsAndOrders, GgufEncoding,
                         ::testing::Values(std::pair(1u, std::endian::little),
                                           std::pair(2u, std::endian::little),
                                           std::pair(3u, std::endian::little),
                                           std::pair(3u, std::endian::big)));

TEST(GgufHeader, EveryTruncationOpensOrIsRefused) {
  Metadata metadata = MetadataOfAllTypes();
  metadata.Set("filler", Array{std::vector<std::string>(100, "tok")});
  const std::vector<TensorSpec> specs = {{"a", {3, 5}, TensorType::kF32},
                                         {"b", {2, 256}, TensorType::kQ6_K},
                                         {"c", {100}, TensorType::kF16}};
  const Layout layout = LayOut(metadata, specs);
  std::vector<uint8_t> file = layout.header;
  file.resize(layout.file_bytes);
  ASSERT_GT(file.size(), 2500u);
  const uint64_t content = layout.offsets.back() + layout.bytes.back();
  for (size_t size = 0; size < file.size(); ++size) {
    const std::span cut = std::span(file).first(size);
    if (size < content) {
      EXPECT_QUERN_ERROR(ParseBytes(cut), ErrorCode::kTruncated) << size;
    } else {
      EXPECT_NO_THROW(ParseBytes(cut)) << size;
    }
  }
}

TEST(GgufHeader, EveryFlippedHeaderBitOpensOrIsRefused) {
  const std::vector<TensorSpec> specs = {{"a", {3, 5}, TensorType::kF32},
                                         {"b", {2, 256}, TensorType::kQ6_K}};
  const Layout layout = LayOut(MetadataOfAllTypes(), specs);
  std::vector<uint8_t> file = layout.header;
  file.resize(layout.file_bytes);
  size_t refused = 0;
  for (size_t bit = 0; bit < layout.header.size() * 8; ++bit) {
    file[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    try {
      ParseBytes(file);
    } catch (const Error&) {
      ++refused;
    }
    file[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_GT(refused, layout.header.size());  // most bits of lengths, types, shapes and offsets
}

TEST(GgufHeader, ManyKeysAndTensorsTakeLinearWork) {
  constexpr uint64_t kKeys = 50000, kTensors = 100000;
  GgufBytes bytes;
  bytes.Head(kTensors, kKeys);
  for (uint64_t i = 0; i < kKeys; ++i) bytes.Key("key." + std::to_string(i), i);
  for (uint64_t i = 0; i < kTensors; ++i) {
    bytes.Tensor("blk." + std::to_string(i), {8}, kF32, 32 * i);
  }
  bytes.Pad().Zeros(32 * kTensors);
  const Header header = ParseBytes(bytes);
  EXPECT_EQ(header.metadata.size(), kKeys);
  EXPECT_EQ(header.tensors.back().offset, header.data_begin + 32 * (kTensors - 1));
}

}  // namespace
}  // namespace quern::formats::gguf
