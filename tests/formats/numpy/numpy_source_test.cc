#include "formats/numpy/numpy_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/zip/zip_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats {
namespace {

using ::testing::ElementsAre;
using testing::Le;
using testing::TempFolder;

std::string Npy(const std::string& header, const std::string& data, int version = 1) {
  return "\x93NUMPY" + Le(static_cast<uint64_t>(version), 2) +
         Le(header.size(), version == 1 ? 2 : 4) + header + data;
}

std::string Header(const std::string& type, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + type + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }     \n";
}

std::unique_ptr<ModelSource> Open(const std::string& bytes) {
  static const TempFolder folder;
  return OpenModel(folder.Write("x.npy", bytes));
}

std::vector<uint8_t> ReadArray(const ModelSource& source, std::string_view name) {
  const TensorInfo& tensor = *source.FindTensor(name);
  std::vector<uint8_t> bytes(tensor.bytes);
  source.Read(tensor, 0, bytes);
  return bytes;
}

TEST(NumpySource, ReadsArraysOfAnyOrder) {
  const std::string data("\1\2\3\4\5\6");
  EXPECT_THAT(ReadArray(*Open(Npy(Header("|u1", "(2, 3)"), data)), "x"),
              ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(ReadArray(*Open(Npy(Header("|u1", "(2, 3)", true), data, 2)), "x"),
              ElementsAre(1, 3, 5, 2, 4, 6));
  EXPECT_THAT(ReadArray(*Open(Npy(Header(">i2", "(3,)"), data)), "x"),
              ElementsAre(2, 1, 4, 3, 6, 5));
  EXPECT_EQ(Open(Npy(Header("<f8", "()"), std::string(8, 'x')))->tensors()[0].shape, Shape{});
}

TEST(NumpySource, ReadsArchivesOfArrays) {
  const auto source = Open(testing::BuildZip(
      {.members = {{.name = "a.npy", .data = Npy(Header("|u1", "(2,)"), "ab"), .deflate = true},
                   {.name = "b.npy", .data = Npy(Header("|i1", "(0, 3)"), "")}}}));
  EXPECT_EQ(source->format(), "numpy");
  EXPECT_THAT(ReadArray(*source, "a"), ElementsAre('a', 'b'));
  EXPECT_EQ(source->FindTensor("b")->shape, (Shape{0, 3}));
  EXPECT_QUERN_ERROR(Open(testing::BuildZip(
                         {.members = {{.name = "a.npy", .data = Npy(Header("|u1", "(1,)"), "a")},
                                      {.name = "b.txt", .data = "x"}}})),
                     ErrorCode::kUnexpected);
}

TEST(NumpySource, RefusesHeadersThatLie) {
  const auto refused = [](const std::string& header, ErrorCode code) {
    EXPECT_QUERN_ERROR(Open(Npy(header, "ab")), code);
  };
  refused(Header("|u1", "(3,)"), ErrorCode::kTruncated);
  refused(Header("|u1", "(1,)"), ErrorCode::kUnusedBytes);
  refused(Header("|u1", "(4294967296, 4294967296)"), ErrorCode::kBadShape);
  refused(Header("|u1", "(0, 4294967296, 4294967296)"), ErrorCode::kBadShape);
  refused(Header("|u1", "(-2,)"), ErrorCode::kBadShape);
  refused(Header("|u1", "(99999999999999999999,)"), ErrorCode::kBadShape);
  refused(Header("|u1", "2"), ErrorCode::kBadText);
  refused(Header("|O", "(1,)"), ErrorCode::kUnsafe);
  refused(Header("<c8", "(1,)"), ErrorCode::kUnsupported);
  refused(Header("", "(1,)"), ErrorCode::kUnsupported);
  refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
          ErrorCode::kUnsupported);
  refused("{'descr': '|u1', 'shape': (2,)}", ErrorCode::kMissing);
  refused("{'descr': '|u1', 'descr': '|u1'}", ErrorCode::kDuplicate);
  refused("{'evil': __import__('os')}", ErrorCode::kUnexpected);
  refused("{'fortran_order': __import__('os')}", ErrorCode::kBadText);
  refused("os.system('x')", ErrorCode::kBadText);
  refused("{", ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(Open(Npy(Header("|u1", "(2,)"), "ab", 4)), ErrorCode::kBadVersion);
  EXPECT_QUERN_ERROR(Open("\x93NUMPY" + Le(2, 2) + Le(0xffffffff, 4)), ErrorCode::kLimitExceeded);
  const std::string good = Npy(Header("|u1", "(2,)"), "ab");
  for (size_t length = 6; length < good.size(); ++length) {
    EXPECT_QUERN_ERROR(Open(good.substr(0, length)), ErrorCode::kTruncated);
  }
}

}  // namespace
}  // namespace quern::formats
