#include "formats/safetensors/safetensors_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::safetensors {
namespace {

using testing::Bytes;
using testing::ErrorOf;
using testing::TempFolder;

// A header with one tensor "t" of these fields.
std::string OneTensor(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return "{\"t\":{\"dtype\":" + std::string(dtype) + ",\"shape\":" + std::string(shape) +
         ",\"data_offsets\":" + std::string(offsets) + "}}";
}

std::string F32(std::string_view name, uint64_t begin, uint64_t count) {
  return "\"" + std::string(name) + "\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(count) +
         "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(begin + 4 * count) +
         "]}";
}

Bytes FileOf(std::string_view header, size_t data_bytes) {
  Bytes bytes;
  bytes.Put<uint64_t>(header.size()).Text(header).Zeros(data_bytes);
  return bytes;
}

TEST(SafetensorsHeader, ListsTensorsByNameWithTheirPlace) {
  const std::string json = "{" + F32("b", 0, 2) + "," + F32("a", 8, 1) + "," + F32("e", 8, 0) +
                           ",\"__metadata__\":{\"format\":\"pt\"}}   ";
  const Header header = ParseHeader(json, 12, "f");
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].offset, 8 + json.size() + 8);
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].bytes, 8u);
  EXPECT_EQ(header.tensors[2].bytes, 0u);
  EXPECT_EQ(header.metadata.GetString("format"), "pt");
}

TEST(SafetensorsHeader, KnowsEveryDtypeThatHasATensorType) {
  const std::pair<const char*, TensorType> types[] = {
      {"BOOL", TensorType::kBool},      {"U8", TensorType::kU8},   {"I8", TensorType::kI8},
      {"F8_E5M2", TensorType::kF8E5M2}, {"I16", TensorType::kI16}, {"U16", TensorType::kU16},
      {"F8_E4M3", TensorType::kF8E4M3}, {"F16", TensorType::kF16}, {"BF16", TensorType::kBF16},
      {"I32", TensorType::kI32},        {"U32", TensorType::kU32}, {"F32", TensorType::kF32},
      {"C64", TensorType::kC64},        {"F64", TensorType::kF64}, {"I64", TensorType::kI64},
      {"U64", TensorType::kU64},
  };
  for (const auto& [name, type] : types) {
    const uint64_t bytes = 3 * Info(type).block_bytes;
    const Header header = ParseHeader(
        OneTensor("\"" + std::string(name) + "\"", "[3]", "[0," + std::to_string(bytes) + "]"),
        bytes, "f");
    EXPECT_EQ(header.tensors.at(0).type, type) << name;
  }
  for (const char* name : {"\"F4\"", "\"F8_E8M0\"", "\"F6_E2M3\"", "\"f32\"", "\"\""}) {
    const Error error = ErrorOf([&] { ParseHeader(OneTensor(name, "[2]", "[0,1]"), 1, "f"); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.message(), ::testing::HasSubstr(name));
  }
}

TEST(SafetensorsHeader, AcceptsScalarsAndFilesWithoutTensors) {
  EXPECT_EQ(ParseHeader(OneTensor("\"F32\"", "[]", "[0,4]"), 4, "f").tensors.at(0).shape, Shape{});
  EXPECT_TRUE(ParseHeader("{}", 0, "f").tensors.empty());
  EXPECT_TRUE(ParseHeader("{\"__metadata__\":null}", 0, "f").tensors.empty());
}

struct BadHeader {
  const char* what;
  std::string json;
  uint64_t data_bytes;
  ErrorCode code;
};

void PrintTo(const BadHeader& bad, std::ostream* out) { *out << bad.what; }

class BadHeaders : public ::testing::TestWithParam<BadHeader> {};

TEST_P(BadHeaders, AreRefused) {
  const auto& [what, json, data_bytes, code] = GetParam();
  const Error error = ErrorOf([&] { ParseHeader(json, data_bytes, "bad.safetensors"); });
  EXPECT_EQ(ErrorCodeName(error.code()), ErrorCodeName(code)) << what << ": " << error.what();
  EXPECT_EQ(error.where().file, "bad.safetensors");
}

INSTANTIATE_TEST_SUITE_P(
    Json, BadHeaders,
    ::testing::Values(
        BadHeader{"list", "[]", 0, ErrorCode::kBadMagic},
        BadHeader{"space first", " {}", 0, ErrorCode::kBadMagic},
        BadHeader{"empty", "", 0, ErrorCode::kBadMagic},
        BadHeader{"cut", "{\"t\":{", 0, ErrorCode::kBadText},
        BadHeader{"second text", "{}{}", 0, ErrorCode::kBadText},
        BadHeader{"zero byte", std::string("{}\0", 3), 0, ErrorCode::kBadText},
        BadHeader{"invalid UTF-8", "{\"\xff\":1}", 0, ErrorCode::kBadText},
        BadHeader{"NaN", OneTensor("\"F32\"", "[NaN]", "[0,4]"), 4, ErrorCode::kBadText},
        BadHeader{"1e400", OneTensor("\"F32\"", "[1e400]", "[0,4]"), 4, ErrorCode::kBadText},
        BadHeader{"deep", "{\"a\":" + std::string(100'000, '['), 0, ErrorCode::kLimitExceeded},
        BadHeader{"tensor twice", "{" + F32("a", 0, 1) + "," + F32("a", 0, 1) + "}", 4,
                  ErrorCode::kDuplicate},
        BadHeader{"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0,
                  ErrorCode::kDuplicate},
        BadHeader{"field twice", "{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F16\"}}", 0,
                  ErrorCode::kDuplicate}));

INSTANTIATE_TEST_SUITE_P(
    Fields, BadHeaders,
    ::testing::Values(
        BadHeader{"number for entry", "{\"t\":1}", 0, ErrorCode::kBadType},
        BadHeader{"no dtype", "{\"t\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4,
                  ErrorCode::kMissing},
        BadHeader{"no shape", "{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
                  ErrorCode::kMissing},
        BadHeader{"no offsets", "{\"t\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, ErrorCode::kMissing},
        BadHeader{"unknown field",
                  "{\"t\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":0}}", 4,
                  ErrorCode::kUnexpected},
        BadHeader{"dtype number", OneTensor("7", "[1]", "[0,4]"), 4, ErrorCode::kBadType},
        BadHeader{"shape number", OneTensor("\"F32\"", "1", "[0,4]"), 4, ErrorCode::kBadType},
        BadHeader{"offsets text", OneTensor("\"F32\"", "[1]", "\"0,4\""), 4, ErrorCode::kBadType},
        BadHeader{"metadata number", "{\"__metadata__\":{\"a\":1}}", 0, ErrorCode::kBadType},
        BadHeader{"metadata list", "{\"__metadata__\":[]}", 0, ErrorCode::kBadType}));

INSTANTIATE_TEST_SUITE_P(
    Numbers, BadHeaders,
    ::testing::Values(
        BadHeader{"negative dimension", OneTensor("\"F32\"", "[-1]", "[0,4]"), 4,
                  ErrorCode::kBadShape},
        BadHeader{"two negatives", OneTensor("\"F32\"", "[-1,-1]", "[0,4]"), 4,
                  ErrorCode::kBadShape},
        BadHeader{"fraction", OneTensor("\"F32\"", "[1.0]", "[0,4]"), 4, ErrorCode::kBadShape},
        BadHeader{"2^64", OneTensor("\"F32\"", "[18446744073709551616]", "[0,4]"), 4,
                  ErrorCode::kBadShape},
        BadHeader{"product wraps to 0", OneTensor("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0,
                  ErrorCode::kBadShape},
        BadHeader{"wraps behind a zero", OneTensor("\"F32\"", "[0,4294967296,4294967296]", "[0,0]"),
                  0, ErrorCode::kBadShape},
        BadHeader{"bytes wrap", OneTensor("\"F32\"", "[4611686018427387904]", "[0,0]"), 0,
                  ErrorCode::kBadShape},
        BadHeader{"many dimensions",
                  OneTensor(
                      "\"F32\"",
                      "[1" + std::string(130, ' ') +
                          []() {
                            std::string ones;
                            for (int i = 0; i < 64; ++i) ones += ",1";
                            return ones;
                          }() +
                          "]",
                      "[0,4]"),
                  4, ErrorCode::kBadShape},
        BadHeader{"negative offset", OneTensor("\"F32\"", "[1]", "[-4,0]"), 4,
                  ErrorCode::kBadValue},
        BadHeader{"float offset", OneTensor("\"F32\"", "[1]", "[0,4.0]"), 4, ErrorCode::kBadValue},
        BadHeader{"one offset", OneTensor("\"F32\"", "[1]", "[0]"), 4, ErrorCode::kBadValue},
        BadHeader{"three offsets", OneTensor("\"F32\"", "[1]", "[0,4,8]"), 4, ErrorCode::kBadValue},
        BadHeader{"begin > end", OneTensor("\"F32\"", "[1]", "[4,0]"), 4, ErrorCode::kBadValue},
        BadHeader{"shape too large", OneTensor("\"F32\"", "[2]", "[0,4]"), 4, ErrorCode::kMismatch},
        BadHeader{"shape too small", OneTensor("\"F32\"", "[1]", "[0,8]"), 8, ErrorCode::kMismatch},
        BadHeader{"far out",
                  OneTensor("\"F32\"", "[0]", "[9223372036854775808,9223372036854775808]"), 4,
                  ErrorCode::kTruncated}));

INSTANTIATE_TEST_SUITE_P(
    Tiling, BadHeaders,
    ::testing::Values(
        BadHeader{"past the end", "{" + F32("a", 0, 2) + "}", 7, ErrorCode::kTruncated},
        BadHeader{"overlap", "{" + F32("a", 0, 2) + "," + F32("b", 4, 2) + "}", 12,
                  ErrorCode::kOverlap},
        BadHeader{"same bytes", "{" + F32("a", 0, 2) + "," + F32("b", 0, 2) + "}", 8,
                  ErrorCode::kOverlap},
        BadHeader{"empty inside another", "{" + F32("a", 0, 2) + "," + F32("b", 4, 0) + "}", 8,
                  ErrorCode::kOverlap},
        BadHeader{"hole first", "{" + F32("a", 4, 1) + "}", 8, ErrorCode::kUnusedBytes},
        BadHeader{"hole between", "{" + F32("a", 0, 1) + "," + F32("b", 8, 1) + "}", 12,
                  ErrorCode::kUnusedBytes},
        BadHeader{"tail", "{" + F32("a", 0, 1) + "}", 5, ErrorCode::kUnusedBytes},
        BadHeader{"data of no tensor", "{}", 1, ErrorCode::kUnusedBytes}));

TEST(SafetensorsHeader, ReadsAHundredThousandTensorsQuickly) {
  std::string json = "{";
  for (uint64_t i = 0; i < 100'000; ++i) {
    json += F32("layer." + std::to_string(i), 4 * i, 1) + ",";
  }
  json.back() = '}';
  EXPECT_EQ(ParseHeader(json, 400'000, "f").tensors.size(), 100'000u);
}

TEST(SafetensorsSource, ReadsTensorBytesAndSideFiles) {
  const TempFolder folder;
  Bytes file = FileOf("{" + F32("b", 0, 1) + "," + F32("a", 4, 1) + "}", 0);
  file.Put<float>(1.5f).Put<float>(2.5f);
  const auto path = folder.Write("weights.safetensors", std::span<const uint8_t>(file));
  folder.Write("config.json", R"({"model_type":"llama"})");
  const auto source = OpenModel(path);
  EXPECT_EQ(source->format(), "safetensors");
  EXPECT_EQ(source->config()["model_type"], "llama");
  EXPECT_TRUE(source->side_files().contains("config.json"));
  float value = 0;
  source->Read(*source->FindTensor("a"), 0, {reinterpret_cast<uint8_t*>(&value), 4});
  EXPECT_EQ(value, 2.5f);
}

TEST(SafetensorsSource, RefusesLyingHeaderLengths) {
  const TempFolder folder;
  const std::pair<uint64_t, ErrorCode> cases[] = {
      {0, ErrorCode::kBadValue},
      {1, ErrorCode::kBadValue},
      {7, ErrorCode::kTruncated},
      {kMaxHeaderBytes, ErrorCode::kTruncated},
      {kMaxHeaderBytes + 1, ErrorCode::kLimitExceeded},
      {uint64_t{1} << 63, ErrorCode::kLimitExceeded},
      {~uint64_t{0} - 7, ErrorCode::kLimitExceeded},
      {~uint64_t{0}, ErrorCode::kLimitExceeded},
  };
  for (const auto& [length, code] : cases) {
    Bytes file;
    file.Put(length).Text("{}");
    const auto path = folder.Write("x.safetensors", std::span<const uint8_t>(file));
    EXPECT_QUERN_ERROR(OpenModel(path), code) << length;
  }
  Bytes not_json = FileOf("PK", 0);
  const auto path = folder.Write("x.safetensors", std::span<const uint8_t>(not_json));
  EXPECT_QUERN_ERROR(OpenModel(path), ErrorCode::kBadMagic);
  Bytes cut;
  cut.Put<uint32_t>(2);
  folder.Write("x.safetensors", std::span<const uint8_t>(cut));
  EXPECT_QUERN_ERROR(OpenModel(path), ErrorCode::kTruncated);
}

TEST(SafetensorsSource, LeavesOtherThingsUnderItsNameToTheirDiagnosis) {
  const TempFolder folder;
  const std::pair<const char*, const char*> cases[] = {
      {"", "empty"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:"
       "0000000000000000000000000000000000000000000000000000000000000000\nsize 5\n",
       "git-LFS"},
      {"<!DOCTYPE html><html>", "HTML"},
  };
  for (const auto& [content, expected] : cases) {
    const auto path = folder.Write("model.safetensors", std::string_view(content));
    const Error error = ErrorOf([&] { OpenModel(path); });
    EXPECT_EQ(error.code(), ErrorCode::kBadMagic);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(expected));
  }
}

// The length comes first, and some lengths look like the beginning of a pickle.
TEST(SafetensorsSource, IsRecognizedWhateverTheHeadersLength) {
  const TempFolder folder;
  const std::string json = "{" + F32("t", 0, 2) + "}";
  for (size_t length = 72; length < 1500; length += 8) {
    const std::string header = json + std::string(length - json.size(), ' ');
    const auto path = folder.Write("model.safetensors", FileOf(header, 8));
    ASSERT_EQ(OpenModel(path)->format(), "safetensors") << length;
  }
}

TEST(SafetensorsSource, RefusesAFileCutAtAnyByte) {
  const TempFolder folder;
  Bytes whole = FileOf("{" + F32("a", 0, 2) + "," + F32("b", 8, 3) + "}", 20);
  for (size_t size = 1; size < whole.data().size(); ++size) {
    const auto path =
        folder.Write("x.safetensors", std::span<const uint8_t>(whole.data()).first(size));
    EXPECT_QUERN_ERROR(SafetensorsSource source(path), ErrorCode::kTruncated) << size;
  }
}

TEST(SafetensorsSource, OpensRealFiles) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/lora/gpt2-r8/adapter_model.safetensors");
  const SafetensorsSource source(path);
  EXPECT_EQ(source.tensors().size(), 25u);
  EXPECT_EQ(source.metadata().GetString("format"), "pt");
  const TensorInfo* tensor = source.FindTensor("base_model.model.score.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->shape, (Shape{6, 768}));
  EXPECT_EQ(tensor->offset, 8u + 3120u);
}

}  // namespace
}  // namespace quern::formats::safetensors
