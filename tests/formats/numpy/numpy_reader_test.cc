#include "formats/numpy/numpy_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "tests/formats/zip/zip_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::numpy {
namespace {

using testing::ErrorOf;
using testing::BuildZip;
using testing::Le;
using testing::TempFolder;

std::string Npy(const std::string& dict, const std::string& data, int major = 1) {
  std::string literal = dict;
  const size_t fixed = major == 1 ? 10 : 12;
  while ((fixed + literal.size() + 1) % 64 != 0) literal += ' ';
  literal += '\n';
  return std::string(kMagic) + static_cast<char>(major) + '\0' +
         Le(literal.size(), major == 1 ? 2 : 4) + literal + data;
}

std::string Dict(const std::string& descr, bool fortran, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }";
}

NpyHeader Parse(const std::string& bytes) {
  return ParseNpyHeader(std::string_view(bytes).substr(0, kHeadBytes), bytes.size(),
                        {"a.npy", 0, {}});
}

ErrorCode CodeOf(const std::string& bytes) {
  return ErrorOf([&] { Parse(bytes); }).code();
}

template <typename T>
std::vector<T> ReadAll(const ModelSource& source, const std::string& name) {
  const TensorInfo* tensor = source.FindTensor(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (!tensor) return {};
  std::vector<uint8_t> bytes(tensor->bytes);
  source.Read(*tensor, 0, bytes);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(NpyHeader, ReadsVersions1To3) {
  for (const int major : {1, 2, 3}) {
    const std::string bytes = Npy(Dict("<f4", false, "(2, 3)"), std::string(24, '\0'), major);
    const NpyHeader header = Parse(bytes);
    EXPECT_EQ(header.type, TensorType::kF32);
    EXPECT_EQ(header.shape, (Shape{2, 3}));
    EXPECT_FALSE(header.fortran_order);
    EXPECT_FALSE(header.big_endian);
    EXPECT_EQ(header.data_begin, bytes.size() - 24);
  }
}

TEST(NpyHeader, ReadsEveryPlainType) {
  struct Case {
    const char* descr;
    TensorType type;
    size_t bytes;
  };
  for (const auto& [descr, type, bytes] :
       {Case{"<f2", TensorType::kF16, 2}, Case{">f8", TensorType::kF64, 8},
        Case{"|i1", TensorType::kI8, 1}, Case{"<i2", TensorType::kI16, 2},
        Case{"<i4", TensorType::kI32, 4}, Case{"<i8", TensorType::kI64, 8},
        Case{"|u1", TensorType::kU8, 1}, Case{"<u2", TensorType::kU16, 2},
        Case{"<u4", TensorType::kU32, 4}, Case{"<u8", TensorType::kU64, 8},
        Case{"|b1", TensorType::kBool, 1}, Case{"<c8", TensorType::kC64, 8},
        Case{"<c16", TensorType::kC128, 16}}) {
    const NpyHeader header = Parse(Npy(Dict(descr, false, "()"), std::string(bytes, '\0')));
    EXPECT_EQ(header.type, type) << descr;
    EXPECT_TRUE(header.shape.empty());
    EXPECT_EQ(header.big_endian, descr[0] == '>');
  }
}

TEST(NpyHeader, ReadsWhatOtherWritersWrite) {
  const std::string data(8, '\0');
  for (const char* dict : {"{\"shape\":(2,),\"descr\":\"<f4\",\"fortran_order\":True}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}",
                           "{ 'descr' : '=f4' , 'fortran_order' : False, 'shape' : ( 1, 2 ) , }"}) {
    EXPECT_NO_THROW(Parse(Npy(dict, data))) << dict;
  }
  EXPECT_NO_THROW(Parse(Npy(Dict("<f4", false, "(0, 4294967296)"), "")));
}

TEST(NpyHeader, RefusesWhatIsNoPlainArray) {
  struct Case {
    const char* dict;
    ErrorCode code;
  };
  for (const auto& [dict, code] : {
           Case{"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", ErrorCode::kUnsafe},
           Case{"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
                ErrorCode::kUnsupported},
           Case{"{'descr': '<U4', 'fortran_order': False, 'shape': (2,)}", ErrorCode::kUnsupported},
           Case{"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,)}",
                ErrorCode::kUnsupported},
           Case{"{'descr': '', 'fortran_order': False, 'shape': (1,)}", ErrorCode::kUnsupported},
           Case{"{'descr': '|f4', 'fortran_order': False, 'shape': (2,)}", ErrorCode::kBadType},
           Case{"{'descr': '<f4', 'fortran_order': False}", ErrorCode::kMissing},
           Case{"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
                ErrorCode::kDuplicate},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': ()}",
                ErrorCode::kBadText},
           Case{"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", ErrorCode::kBadText},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", ErrorCode::kBadText},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (2)}", ErrorCode::kBadText},
           Case{"{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (2,)}", ErrorCode::kBadText},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", ErrorCode::kBadShape},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                ErrorCode::kBadShape},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
                ErrorCode::kBadShape},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296)}",
                ErrorCode::kBadShape},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + 1", ErrorCode::kBadText},
           Case{"__import__('os')", ErrorCode::kBadText},
           Case{"{'descr': '<f4", ErrorCode::kBadText},
           Case{"", ErrorCode::kBadText},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", ErrorCode::kTruncated},
           Case{"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", ErrorCode::kUnusedBytes},
       }) {
    EXPECT_EQ(ErrorCodeName(CodeOf(Npy(dict, std::string(8, '\0')))), ErrorCodeName(code)) << dict;
  }
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1, ";
  EXPECT_EQ(CodeOf(Npy(Dict("<f4", false, many + ")"), "1234")), ErrorCode::kLimitExceeded);
}

TEST(NpyHeader, RefusesDamagedBeginnings) {
  const std::string good = Npy(Dict("<f4", false, "(2,)"), std::string(8, '\0'));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(CodeOf(good.substr(0, size)), ErrorCode::kTruncated) << size;
  }
  std::string bad = good;
  bad[6] = 4;
  EXPECT_EQ(CodeOf(bad), ErrorCode::kBadVersion);
  bad[6] = 1;
  bad[0] = 'N';
  EXPECT_EQ(CodeOf(bad), ErrorCode::kBadMagic);
  EXPECT_EQ(CodeOf(std::string(kMagic) + std::string("\2\0\xff\xff\xff\xff", 6)),
            ErrorCode::kTruncated);
  const std::string wide(70000, ' ');
  EXPECT_EQ(CodeOf(Npy(wide, "", 2)), ErrorCode::kLimitExceeded);
}

TEST(NumpyReader, GivesRowMajorLittleEndianBytes) {
  const TempFolder folder;
  const std::string big = Le(1, 2) + Le(2, 2) + Le(3, 2) + Le(4, 2) + Le(5, 2) + Le(6, 2);
  std::string swapped = big;
  for (size_t i = 0; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  const auto read = [&](const std::string& descr, bool fortran, const std::string& data) {
    const auto path = folder.Write("array.npy", Npy(Dict(descr, fortran, "(2, 3)"), data));
    const auto source = OpenModel(path);
    EXPECT_EQ(source->format(), "numpy");
    return ReadAll<uint16_t>(*source, "array");
  };
  EXPECT_EQ(read("<u2", false, big), (std::vector<uint16_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(read(">u2", false, swapped), (std::vector<uint16_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(read("<u2", true, big), (std::vector<uint16_t>{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(read(">u2", true, swapped), (std::vector<uint16_t>{1, 3, 5, 2, 4, 6}));
}

TEST(NumpyReader, SwapsTheTwoPartsOfComplexNumbersEach) {
  const TempFolder folder;
  const std::string data("\x3f\x80\0\0\x40\0\0\0", 8);  // 1 + 2i, big-endian
  const NumpySource source(folder.Write("z.npy", Npy(Dict(">c8", true, "(1,)"), data)));
  EXPECT_EQ(ReadAll<float>(source, "z"), (std::vector<float>{1, 2}));
}

TEST(NumpyReader, ReadsEmptyArraysAndScalars) {
  const TempFolder folder;
  const NumpySource empty(folder.Write("e.npy", Npy(Dict("<f4", true, "(0, 3)"), "")));
  EXPECT_TRUE(ReadAll<float>(empty, "e").empty());
  const NumpySource scalar(folder.Write("s.npy", Npy(Dict("<u4", false, "()"), Le(7, 4))));
  EXPECT_EQ(ReadAll<uint32_t>(scalar, "s"), (std::vector<uint32_t>{7}));
}

TEST(NumpyReader, ReadsStoredAndDeflatedMembersOfNpz) {
  const TempFolder folder;
  const std::string a = Npy(Dict("<u4", false, "(2,)"), Le(1, 4) + Le(2, 4));
  const std::string b = Npy(Dict("<u4", true, "(2, 2)"), Le(1, 4) + Le(2, 4) + Le(3, 4) + Le(4, 4));
  const auto path = folder.Write(
      "x.npz", BuildZip({.members = {{.name = "a.npy", .data = a},
                                     {.name = "layer/b.npy", .data = b, .deflate = true}}}));
  const auto source = OpenModel(path);
  EXPECT_EQ(source->format(), "numpy");
  EXPECT_EQ(ReadAll<uint32_t>(*source, "a"), (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(ReadAll<uint32_t>(*source, "layer/b"), (std::vector<uint32_t>{1, 3, 2, 4}));
}

TEST(NumpyReader, RefusesBadMembers) {
  const TempFolder folder;
  const std::string a = Npy(Dict("<u4", false, "(1,)"), Le(1, 4));
  const auto code = [&](testing::ZipFile zip) {
    const auto path = folder.Write("x.npz", BuildZip(zip));
    return ErrorOf([&] { NumpySource source(path); }).code();
  };
  using testing::ZipMember;
  const ZipMember good{.name = "a.npy", .data = a};
  EXPECT_EQ(code({.members = {good, {.name = "evil.pkl", .data = "cos\nsystem\n."}}}),
            ErrorCode::kUnexpected);
  EXPECT_EQ(code({.members = {good, {.name = "b.npy", .data = "short"}}}), ErrorCode::kTruncated);
  EXPECT_EQ(code({.members = {good, {.name = "../b.npy", .data = a}}}), ErrorCode::kUnsafe);
  EXPECT_EQ(code({.members = {good, good}}), ErrorCode::kDuplicate);
  EXPECT_EQ(code({.members = {good, {.name = "b.npy", .data = a.substr(0, a.size() - 1)}}}),
            ErrorCode::kTruncated);
}

}  // namespace
}  // namespace quern::formats::numpy
