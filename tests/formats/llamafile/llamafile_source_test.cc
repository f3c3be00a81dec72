#include "formats/llamafile/llamafile_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/zip/zip_testing.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::llamafile {
namespace {

namespace fs = std::filesystem;
using testing::BuildZip;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::SmallGguf;
using testing::TempFolder;
using testing::ZipFile;
using testing::ZipMember;

class Llamafile : public ::testing::Test {
 protected:
  // A runtime, then members, with bytes between them that belong to nothing.
  fs::path Write(const std::vector<ZipMember>& members) const {
    ZipFile zip{.members = members, .prefix = "#!/bin/sh\nexit 0\n" + std::string(100, '\0')};
    for (ZipMember& member : zip.members) member.after = std::string(13, '\0');
    return folder_.Write("model.llamafile", BuildZip(zip));
  }
  std::unique_ptr<ModelSource> Open(const std::vector<ZipMember>& members) const {
    return OpenModel(Write(members));
  }
  const TempFolder folder_;
};

TEST_F(Llamafile, OpensTheGgufInside) {
  const auto source = Open({{.name = "readme.txt", .data = "hello", .deflate = true},
                            {.name = "model.gguf", .data = SmallGguf()}});
  EXPECT_EQ(source->format(), "llamafile");
  EXPECT_EQ(source->layout(), "gguf");
  const auto expected = OpenModel(folder_.Write("small.gguf", SmallGguf()));
  EXPECT_EQ(source->metadata(), expected->metadata());
  for (const TensorInfo& tensor : expected->tensors()) {
    std::vector<uint8_t> bytes(tensor.bytes), same(tensor.bytes);
    source->Read(*source->FindTensor(tensor.name), 0, bytes);
    expected->Read(tensor, 0, same);
    EXPECT_EQ(bytes, same) << tensor.name;
  }
}

TEST_F(Llamafile, TakesTheModelThatTheArgumentsName) {
  const ZipMember a{.name = "a.gguf", .data = SmallGguf(1)},
      b{.name = "b.gguf", .data = SmallGguf(2)};
  const auto begin = [&](const std::string& arguments) {
    return FindWeights(Write({a, b, {.name = ".args", .data = arguments}})).front().begin;
  };
  EXPECT_LT(begin("-m\na.gguf\n"), begin("-m\nb.gguf\n"));
  EXPECT_EQ(begin("--model\n/zip/b.gguf\n..."), begin("-m\nb.gguf\n"));
  EXPECT_QUERN_ERROR(begin("-c\n0"), ErrorCode::kUsage);
  EXPECT_QUERN_ERROR(begin("-m"), ErrorCode::kUsage);
  EXPECT_QUERN_ERROR(Open({a, b}), ErrorCode::kUsage);
}

TEST_F(Llamafile, AProjectorIsNotTheModel) {
  EXPECT_THAT(Open({{.name = "llava-mmproj.gguf", .data = "no GGUF"},
                    {.name = "llava.gguf", .data = SmallGguf()}})
                  ->tensors(),
              SizeIs(12));
}

TEST_F(Llamafile, OpensSplitSets) {
  QUERN_SHARED_OR_SKIP(first, "fixtures/gguf/dummy-00001-of-00002.gguf");
  const fs::path second = first.parent_path() / "dummy-00002-of-00002.gguf";
  const auto source = Open({{.name = second.filename(), .data = ReadTextFile(second, 1 << 20)},
                            {.name = first.filename(), .data = ReadTextFile(first, 1 << 20)}});
  EXPECT_EQ(source->tensors().size(), OpenModel(first)->tensors().size());
}

TEST_F(Llamafile, RefusesWhatCannotBeRead) {
  EXPECT_QUERN_ERROR(Open({{.name = "model.gguf", .data = SmallGguf(), .deflate = true}}),
                     ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(Open({{.name = "readme.txt", .data = "hello"}}), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Open({{.name = "model.gguf", .data = SmallGguf().substr(0, 15000)}}),
                     ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(Open({{.name = "../model.gguf", .data = SmallGguf()}}), ErrorCode::kUnsafe);
  EXPECT_QUERN_ERROR(
      Open({{.name = "model.gguf", .data = SmallGguf()}, {.name = "model.gguf", .data = "x"}}),
      ErrorCode::kDuplicate);
}

TEST_F(Llamafile, RefusesMembersThatOverlapOrLeaveTheFile) {
  const std::string gguf = SmallGguf();
  // The second member's header is inside the first one's data.
  EXPECT_QUERN_ERROR(Open({{.name = "model.gguf",
                            .data = gguf,
                            .size = gguf.size() + 50,
                            .compressed_size = gguf.size() + 50},
                           {.name = "b.txt", .data = std::string(200, 'b')}}),
                     ErrorCode::kOverlap);
  EXPECT_QUERN_ERROR(Open({{.name = "model.gguf",
                            .data = gguf,
                            .size = gguf.size() + 5000,
                            .compressed_size = gguf.size() + 5000}}),
                     ErrorCode::kOutOfBounds);
  EXPECT_QUERN_ERROR(Open({{.name = "model.gguf", .data = gguf, .central_offset = 1 << 30}}),
                     ErrorCode::kOutOfBounds);
  EXPECT_QUERN_ERROR(Open({{.name = "model.gguf", .data = gguf, .local_name = "other.gguf"}}),
                     ErrorCode::kMismatch);
}

TEST_F(Llamafile, AnExecutableWithoutAnArchiveIsNone) {
  const fs::path path = folder_.Write("tool", "#!/bin/sh\necho hello\n");
  EXPECT_QUERN_ERROR(OpenModel(path), ErrorCode::kBadMagic);
}

}  // namespace
}  // namespace quern::formats::llamafile
