#include "formats/lfs/lfs_pointer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/reader.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::lfs {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::Sha256Hex;
using ::testing::SizeIs;
using testing::SmallGguf;
using testing::TempFolder;

const std::string kOid = std::string(60, 'b') + "0123";

std::string PointerText(const std::string& oid, const std::string& size) {
  return "version https://git-lfs.github.com/spec/v1\noid sha256:" + oid + "\nsize " + size + "\n";
}

// A clone by hand: work tree, .git, and a way to put an object there.
class LfsClone : public ::testing::Test {
 protected:
  LfsClone() { fs::create_directories(root() / ".git"); }
  fs::path root() const { return folder_.path() / "clone"; }
  fs::path Write(const std::string& name, const std::string& text) const {
    return folder_.Write("clone/" + name, text);
  }
  // A pointer file, and its object below `git`.
  fs::path Add(const std::string& name, const std::string& content,
               const std::string& git = "clone/.git") const {
    const std::string oid = Sha256Hex(content);
    folder_.Write(git + "/lfs/objects/" + oid.substr(0, 2) + "/" + oid.substr(2, 2) + "/" + oid,
                  content);
    return Write(name, PointerText(oid, std::to_string(content.size())));
  }
  const TempFolder folder_;
};

TEST(LfsPointer, IsParsed) {
  const Pointer pointer = ParsePointer(PointerText(kOid, "5368709120"), "p");
  EXPECT_EQ(pointer.oid, kOid);
  EXPECT_EQ(pointer.size, 5368709120u);
  const std::string extended =
      "version https://git-lfs.github.com/spec/v1\next-0-foo sha256:" + kOid +
      "\noid sha256:" + kOid + "\nsize 1\n";
  EXPECT_EQ(ParsePointer(extended, "p").oid, kOid);
}

TEST(LfsPointer, NamesWhatIsWrong) {
  const std::string start = "version https://git-lfs.github.com/spec/v1\n";
  struct Case {
    std::string text;
    ErrorCode code;
  };
  std::string upper = kOid;
  upper[0] = 'B';
  const Case cases[] = {
      {"", ErrorCode::kBadText},
      {start, ErrorCode::kBadText},
      {"version https://git-lfs.github.com/spec/v2\noid sha256:" + kOid + "\nsize 1\n",
       ErrorCode::kBadText},
      {PointerText(kOid, ""), ErrorCode::kBadValue},
      {PointerText(kOid, "-1"), ErrorCode::kBadValue},
      {PointerText(kOid, "1x"), ErrorCode::kBadValue},
      {PointerText(kOid, "99999999999999999999999"), ErrorCode::kBadValue},
      {PointerText(kOid.substr(1), "1"), ErrorCode::kBadValue},
      {PointerText(kOid + "0", "1"), ErrorCode::kBadValue},
      {PointerText(upper, "1"), ErrorCode::kBadValue},
      {PointerText("../../../../../../../../../../../../../../../../../../etc/passwd", "1"),
       ErrorCode::kBadValue},
      {start + "oid md5:" + kOid + "\nsize 1\n", ErrorCode::kBadValue},
      {PointerText(kOid, "1") + "size 2\n", ErrorCode::kBadText},
      {PointerText(kOid, "1") + "oid sha256:" + kOid + "\n", ErrorCode::kBadText},
      {PointerText(kOid, "1") + "more\n", ErrorCode::kBadText},
      {PointerText(kOid, "1") + "ext-1-" + std::string(1024, 'x'), ErrorCode::kBadText},
  };
  for (const Case& c : cases) EXPECT_QUERN_ERROR(ParsePointer(c.text, "p"), c.code) << c.text;
}

TEST_F(LfsClone, WeightsAndSideFilesAreTakenFromTheObjects) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  testing::Bytes weights;
  weights.Put<uint64_t>(header.size()).Text(header).Put(1.0f);
  Add("model.safetensors", std::string(weights.data().begin(), weights.data().end()));
  Add("config.json", R"({"model_type":"llama"})");
  const fs::path tokenizer = Add("tokenizer.json", "{}");
  for (const fs::path& path : {root(), root() / "model.safetensors"}) {
    const auto source = OpenModel(path);
    EXPECT_THAT(source->tensors(), SizeIs(1));
    EXPECT_EQ(source->config()["model_type"], "llama");
    EXPECT_EQ(source->side_files().at("tokenizer.json"), Resolve(tokenizer));
    EXPECT_NE(source->side_files().at("tokenizer.json"), tokenizer);
  }
}

TEST_F(LfsClone, GgufsAndTheirShardsAreTakenFromTheObjects) {
  EXPECT_THAT(OpenModel(Add("model.gguf", SmallGguf()))->tensors(), SizeIs(12));
  QUERN_SHARED_OR_SKIP(first, "fixtures/gguf/dummy-00001-of-00002.gguf");
  const fs::path second = first.parent_path() / "dummy-00002-of-00002.gguf";
  Add("sub/dummy-00001-of-00002.gguf", ReadTextFile(first, 1 << 20));
  const fs::path named = Add("sub/dummy-00002-of-00002.gguf", ReadTextFile(second, 1 << 20));
  EXPECT_EQ(OpenModel(named)->tensors().size(), OpenModel(second)->tensors().size());
  EXPECT_EQ(OpenModel(root() / "sub")->tensors().size(), OpenModel(second)->tensors().size());
}

TEST_F(LfsClone, WorktreesAndSubmodulesAreFollowed) {
  fs::remove_all(root() / ".git");
  Write(".git", "gitdir: ../main/.git/worktrees/clone\n");
  folder_.Write("main/.git/worktrees/clone/commondir", "../..\n");
  EXPECT_THAT(OpenModel(Add("model.gguf", SmallGguf(), "main/.git"))->tensors(), SizeIs(12));
  Write(".git", "gitdir: ../main/.git/modules/clone\n");
  EXPECT_THAT(OpenModel(Add("other.gguf", SmallGguf(3), "main/.git/modules/clone"))->tensors(),
              SizeIs(12));
}

TEST_F(LfsClone, AnObjectThatIsAbsentIsSaidToBe) {
  for (const char* name : {"model.safetensors", "model.gguf", "pytorch_model.bin"}) {
    const Error error = testing::ErrorOf([&] { OpenModel(Write(name, PointerText(kOid, "5"))); });
    EXPECT_THAT(error.what(), HasSubstr("git lfs pull"));
  }
  fs::remove(root() / "model.gguf");
  const Error error = testing::ErrorOf([&] { OpenModel(root()); });
  EXPECT_THAT(error.what(), HasSubstr("git lfs pull"));
  Add("model.safetensors", std::string("\2\0\0\0\0\0\0\0{}", 10));
  Write("config.json", PointerText(kOid, "5"));
  EXPECT_THAT(testing::ErrorOf([&] { OpenModel(root()); }).what(), HasSubstr("git lfs pull"));
}

TEST_F(LfsClone, AnObjectOfAnotherSizeIsRefused) {
  const fs::path path = Add("model.gguf", SmallGguf());
  const std::string oid = Sha256Hex(SmallGguf());
  Write("model.gguf", PointerText(oid, "15615"));
  EXPECT_QUERN_ERROR(OpenModel(path), ErrorCode::kMismatch);
}

TEST_F(LfsClone, NothingIsFollowedOutOfTheObjects) {
  const fs::path path = Add("model.gguf", SmallGguf());
  const fs::path object = Resolve(path);
  ASSERT_NE(object, path);
  fs::rename(object, folder_.path() / "outside");
  fs::create_symlink(folder_.path() / "outside", object);
  EXPECT_QUERN_ERROR(OpenModel(path), ErrorCode::kUnsafe);
}

TEST(LfsPointerFile, OutsideOfACloneIsNoModel) {
  const TempFolder folder;
  const fs::path path = folder.Write("model.gguf", PointerText(kOid, "5"));
  EXPECT_EQ(Resolve(path), path);
  EXPECT_THAT(testing::ErrorOf([&] { OpenModel(path); }).what(), HasSubstr("git lfs pull"));
}

}  // namespace
}  // namespace quern::formats::lfs
