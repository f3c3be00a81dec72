#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include "tests/formats/git/git_index_testing.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"
#include "tests/verify/verify_testing.h"

extern char** environ;

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using quern::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// Runs a program of the PATH in `folder`; whether it succeeded.
bool RunIn(const fs::path& folder, std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return false;
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A repository made by git and git-lfs, and a clone of it.
class GitChecksSlow : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RunIn("/", {"git", "lfs", "version"})) GTEST_SKIP() << "no git with git-lfs here";
    origin_ = folder_.path() / "origin";
    clone_ = folder_.path() / "clone";
    fs::create_directories(origin_);
    Git({"init"});
    Git({"lfs", "install", "--local"});
    Git({"lfs", "track", "*.gguf"});
    weights_ = quern::testing::SmallGguf();
    WriteAll(origin_ / "model.gguf", weights_);
    WriteAll(origin_ / "sub" / "other.gguf", quern::testing::SmallGguf(2));
    WriteAll(origin_ / "README.md", "A model.\n");
    fs::create_symlink("README.md", origin_ / "LICENSE");
    Git({"add", "."});
    Git({"-c", "user.name=t", "-c", "user.email=t@t", "commit", "-m", "model"});
    ASSERT_TRUE(RunIn(folder_.path(),
                      {"git", "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c",
                       "filter.lfs.process=git-lfs filter-process", "-c",
                       "filter.lfs.required=true", "clone", origin_.string(), clone_.string()}));
    ASSERT_EQ(ReadAll(clone_ / "model.gguf"), weights_);
    object_ =
        clone_ / ".git/lfs/objects" / digest().substr(0, 2) / digest().substr(2, 2) / digest();
    ASSERT_TRUE(fs::exists(object_));
  }

  void Git(std::vector<std::string> words) {
    words.insert(words.begin(), "git");
    ASSERT_TRUE(RunIn(origin_, words)) << words[1];
  }
  std::string digest() const { return quern::testing::Sha256Hex(weights_); }
  std::string Pointer() const {
    return "version https://git-lfs.github.com/spec/v1\noid sha256:" + digest() + "\nsize " +
           std::to_string(weights_.size()) + "\n";
  }

  TempFolder folder_;
  fs::path origin_, clone_, object_;
  std::string weights_;
};

TEST_F(GitChecksSlow, PassAClone) {
  const CheckList list = Checked(clone_);
  EXPECT_THAT(ProblemsOf(list), IsEmpty());
  EXPECT_THAT(list.notes(), IsEmpty());
  EXPECT_GT(list.bytes(), 4 * weights_.size());  // two files and their objects
  ASSERT_TRUE(RunIn(clone_, {"git", "update-index", "--index-version", "4"}));
  EXPECT_THAT(Problems(clone_), IsEmpty());
}

TEST_F(GitChecksSlow, FindADamagedFileAndADamagedObject) {
  FlipBit(clone_ / "model.gguf", 5);
  EXPECT_THAT(Problems(clone_), ElementsAre("checksum model.gguf"));
  FlipBit(object_, 5);
  EXPECT_THAT(Problems(clone_),
              UnorderedElementsAre("checksum model.gguf", "checksum " + digest()));
}

TEST_F(GitChecksSlow, FindATruncatedFileAndARemovedOne) {
  fs::resize_file(clone_ / "model.gguf", weights_.size() - 32);
  fs::remove(clone_ / "README.md");
  EXPECT_THAT(Problems(clone_),
              UnorderedElementsAre("checksum model.gguf", "size model.gguf", "truncated model.gguf",
                                   "dangling LICENSE", "missing README.md"));
}

TEST_F(GitChecksSlow, FindAChangedSmallFile) {
  WriteAll(clone_ / "README.md", "Another.\n");
  EXPECT_THAT(Problems(clone_), ElementsAre("checksum README.md"));
}

TEST_F(GitChecksSlow, TakePointersForTheirObjects) {
  WriteAll(clone_ / "model.gguf", Pointer());
  EXPECT_THAT(Problems(clone_), IsEmpty());
  FlipBit(object_, 5);
  EXPECT_THAT(Problems(clone_), ElementsAre("checksum " + digest()));
  fs::remove(object_);
  EXPECT_THAT(Problems(clone_), ElementsAre("lfs_pointer model.gguf"));
}

TEST_F(GitChecksSlow, KnowACheckedOutFileWithoutItsObject) {
  fs::remove(object_);
  EXPECT_THAT(Problems(clone_), IsEmpty());
  FlipBit(clone_ / "model.gguf", 5);
  EXPECT_THAT(Problems(clone_), ElementsAre("checksum model.gguf"));
}

TEST_F(GitChecksSlow, FollowNoLinkOutOfTheClone) {
  const fs::path outside = folder_.Write("outside", weights_);
  fs::remove(object_);
  fs::create_symlink(outside, object_);
  EXPECT_THAT(Problems(clone_), ElementsAre("unsafe " + digest()));
}

TEST_F(GitChecksSlow, FindADamagedIndex) {
  fs::resize_file(clone_ / ".git" / "index", 100);
  EXPECT_THAT(Problems(clone_), ElementsAre("truncated index"));
}

TEST(GitChecks, FindAPointerInPlaceOfWeightsInAnyFolder) {
  const TempFolder folder;
  folder.Write("model.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:...\n");
  EXPECT_THAT(Problems(folder.path()), ElementsAre("lfs_pointer model.gguf"));
  EXPECT_THAT(Problems(folder.path() / "model.gguf"), ElementsAre("lfs_pointer model.gguf"));
}

// A pointer at `path` whose object is below `objects`; the object.
fs::path WritePointer(const fs::path& path, const fs::path& objects, uint32_t seed) {
  const std::string weights = quern::testing::SmallGguf(seed);
  const std::string oid = quern::testing::Sha256Hex(weights);
  const fs::path object = objects / oid.substr(0, 2) / oid.substr(2, 2) / oid;
  WriteAll(object, weights);
  WriteAll(path, "version https://git-lfs.github.com/spec/v1\noid sha256:" + oid + "\nsize " +
                     std::to_string(weights.size()) + "\n");
  return object;
}

TEST(GitChecks, FindTheObjectsOfWorktreesSubmodulesAndSingleFiles) {
  const TempFolder folder;
  const fs::path clone = folder.path() / "clone", worktree = folder.path() / "worktree";
  WriteAll(clone / ".git/worktrees/w/commondir", "../..\n");
  WriteAll(worktree / ".git", "gitdir: ../clone/.git/worktrees/w\n");
  WriteAll(clone / "sub/.git", "gitdir: ../.git/modules/sub\n");
  const fs::path object = WritePointer(worktree / "model.gguf", clone / ".git/lfs/objects", 1);
  WritePointer(clone / "sub/model.gguf", clone / ".git/modules/sub/lfs/objects", 2);
  WritePointer(clone / "model.gguf", clone / ".git/lfs/objects", 3);
  for (const fs::path& path : {worktree, worktree / "model.gguf", clone, clone / "sub",
                               clone / "sub/model.gguf", clone / "model.gguf"}) {
    EXPECT_THAT(Problems(path), IsEmpty()) << path;
  }
  FlipBit(object, 5);
  EXPECT_THAT(Problems(worktree), ElementsAre("checksum " + object.filename().string()));
  fs::remove(object);
  EXPECT_THAT(Problems(worktree), ElementsAre("lfs_pointer model.gguf"));
}

TEST(GitChecks, FollowNoListOutOfTheClone) {
  const TempFolder folder;
  const fs::path clone = folder.path() / "clone";
  fs::create_directories(clone / ".git");
  fs::create_symlink(folder.Write("secret", "s"), clone / "link");
  WriteAll(clone / "SHA256SUMS", std::string(64, '0') + "  link\n");
  EXPECT_THAT(Problems(clone), ElementsAre("unsafe link"));
}

TEST(GitChecks, KnowASparseCheckout) {
  const TempFolder folder;
  const std::string shard = "model-00001-of-00001.safetensors";
  folder.Write("config.json",
               "{\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"]}");
  folder.Write("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"" + shard + "\"}}");
  fs::create_directories(folder.path() / ".git");
  EXPECT_THAT(Problems(folder.path()), ::testing::Not(IsEmpty()));
  folder.Write(".git/index", quern::testing::IndexBytes(3, 1).Entry(shard, 0x4000, 0x4000).bytes());
  EXPECT_THAT(Problems(folder.path()), IsEmpty());
}

TEST(GitChecks, SayThatASplitIndexWasNotRead) {
  const TempFolder folder;
  fs::create_directories(folder.path() / ".git");
  folder.Write(".git/index", quern::testing::SplitIndexBytes());
  const CheckList list = Checked(folder.path());
  EXPECT_THAT(ProblemsOf(list), IsEmpty());
  EXPECT_THAT(list.notes(), ElementsAre(::testing::HasSubstr("split index")));
}

}  // namespace
}  // namespace quern::verify
