#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/fixtures.h"
#include "tests/verify/verify_testing.h"
#include "verify/digest.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using quern::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

// A cache as huggingface_hub leaves it, with the test model in it.
class HubChecks : public ::testing::Test {
 protected:
  HubChecks() {
    repository_ = folder_.path() / "hub" / "models--quern--kjv-4m";
    snapshot_ = repository_ / "snapshots" / kCommit;
    for (const auto& entry : fs::directory_iterator(quern::testing::TestData("kjv-4m"))) {
      if (entry.is_regular_file()) AddFile(entry.path().filename(), ReadAll(entry.path()));
    }
    WriteAll(repository_ / "refs" / "main", kCommit);
  }

  void AddFile(const fs::path& name, const std::string& content) {
    const bool large = name.extension() == ".safetensors" || name.extension() == ".gguf";
    const std::string blob = DigestOf(large ? DigestKind::kSha256 : DigestKind::kGitBlob, content);
    WriteAll(repository_ / "blobs" / blob, content);
    fs::create_directories((snapshot_ / name).parent_path());
    fs::create_symlink(fs::path("../../blobs") / blob, snapshot_ / name);
  }

  fs::path BlobOf(const char* name) const { return fs::canonical(snapshot_ / name); }
  static std::string Named(const std::string& kind, const fs::path& path) {
    return kind + " " + path.filename().string();
  }

  TempFolder folder_;
  fs::path repository_;
  fs::path snapshot_;
};

TEST_F(HubChecks, PassAWholeCacheARepositoryAndASnapshot) {
  EXPECT_THAT(Problems(folder_.path()), IsEmpty());
  EXPECT_THAT(Problems(folder_.path() / "hub"), IsEmpty());
  EXPECT_THAT(Problems(repository_), IsEmpty());
  const CheckList list = Checked(snapshot_);
  EXPECT_THAT(ProblemsOf(list), IsEmpty());
  EXPECT_THAT(list.notes(), IsEmpty());
  EXPECT_GT(list.bytes(), 1000000u);
}

TEST_F(HubChecks, FindDamageInLargeAndSmallFiles) {
  const fs::path config = BlobOf("config.json");
  Replace(snapshot_ / "config.json", " ", "\n");
  EXPECT_THAT(Problems(repository_), ElementsAre(Named("checksum", config)));
}

TEST_F(HubChecks, FindAFlippedBitOfTheWeights) {
  for (const auto& entry : fs::directory_iterator(snapshot_)) {
    if (entry.path().extension() != ".safetensors") continue;
    const fs::path blob = fs::canonical(entry.path());
    FlipBit(blob, 100);
    const CheckList list = Checked(repository_);
    EXPECT_THAT(ProblemsOf(list), ElementsAre(Named("checksum", blob)));
    EXPECT_THAT(list.problems()[0].detail, HasSubstr(entry.path().filename().string()));
    return;
  }
  FAIL() << "the model has no safetensors";
}

TEST_F(HubChecks, FindDanglingSnapshotsAndRefs) {
  const fs::path blob = BlobOf("config.json");
  fs::remove(blob);
  EXPECT_THAT(Problems(repository_), ElementsAre("dangling config.json"));
  WriteAll(repository_ / "refs" / "pr" / "1", std::string(40, 'e'));
  EXPECT_THAT(Problems(repository_), UnorderedElementsAre("dangling config.json", "dangling 1"));
  WriteAll(repository_ / "refs" / "pr" / "1", "../../..");
  EXPECT_THAT(Problems(repository_), UnorderedElementsAre("dangling config.json", "bad_value 1"));
}

TEST_F(HubChecks, FindUnfinishedDownloadsAndOrphans) {
  WriteAll(repository_ / "blobs" / (std::string(64, 'c') + ".incomplete"), "half");
  const std::string orphan = DigestOf(DigestKind::kGitBlob, "nobody's");
  WriteAll(repository_ / "blobs" / orphan, "nobody's");
  EXPECT_THAT(Problems(repository_),
              UnorderedElementsAre("incomplete " + std::string(64, 'c') + ".incomplete",
                                   "orphan " + orphan));
}

TEST_F(HubChecks, FollowNoLinkOutOfTheCache) {
  const fs::path outside = folder_.Write("secret.json", "{}");
  fs::create_symlink(outside, snapshot_ / "generation_config2.json");
  EXPECT_THAT(Problems(repository_), ElementsAre("unsafe generation_config2.json"));
}

TEST_F(HubChecks, FindAPageInPlaceOfWeights) {
  AddFile("extra.safetensors", "<!DOCTYPE html><html>Not found</html>");
  EXPECT_THAT(Problems(snapshot_), ElementsAre("html_page extra.safetensors"));
}

TEST_F(HubChecks, FindTheCacheByItsAddress) {
  ::setenv("HF_HUB_CACHE", (folder_.path() / "hub").c_str(), 1);
  EXPECT_THAT(Problems("hf:quern/kjv-4m"), IsEmpty());
  EXPECT_THAT(Problems("hf:quern/kjv-4m@main"), IsEmpty());
  EXPECT_THAT(Problems("hf:quern/kjv-4m@" + kCommit), IsEmpty());
  EXPECT_QUERN_ERROR(Problems("hf:quern/other"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Problems("hf:quern/kjv-4m@other"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Problems("hf:../kjv-4m"), ErrorCode::kUsage);
  ::unsetenv("HF_HUB_CACHE");
}

TEST_F(HubChecks, FindABlobThatIsALinkToAnother) {
  AddFile("a.txt", "a");
  AddFile("b.txt", "b");
  const fs::path blob = BlobOf("a.txt");
  fs::remove(blob);
  fs::create_symlink(BlobOf("b.txt").filename(), blob);
  EXPECT_THAT(Problems(repository_), ElementsAre(Named("checksum", blob)));
  EXPECT_THAT(Problems(snapshot_), ElementsAre(Named("checksum", blob)));
}

TEST_F(HubChecks, CompareAFileThatIsNamedAlone) {
  const fs::path snapshot_file = snapshot_ / "model-00001-of-00002.safetensors";
  const fs::path blob = fs::canonical(snapshot_file);
  const fs::path link = folder_.path() / "mine.safetensors";
  fs::create_symlink(snapshot_file, link);
  for (const fs::path& path : {snapshot_file, blob, link, snapshot_ / "config.json"}) {
    EXPECT_THAT(Problems(path), IsEmpty()) << path;
  }
  FlipBit(blob, 100);
  for (const fs::path& path : {snapshot_file, blob, link}) {
    EXPECT_THAT(Problems(path), ElementsAre(Named("checksum", path)));
  }
  Replace(snapshot_ / "config.json", " ", "\n");
  EXPECT_THAT(Problems(snapshot_ / "config.json"), ElementsAre("checksum config.json"));
}

TEST_F(HubChecks, OutliveFoldersThatAreLinksToThemselves) {
  for (const char* name : {"snapshots", "blobs"}) {
    const fs::path repository = folder_.path() / "hub" / ("models--loop--" + std::string(name));
    fs::create_directories(repository / (name == std::string("blobs") ? "snapshots" : "blobs"));
    fs::create_directory_symlink(name, repository / name);
    EXPECT_THAT(Problems(repository), ElementsAre("dangling " + std::string(name)));
  }
}

TEST_F(HubChecks, KnowACommitOfWhichOnlyAbsentFilesWereAskedFor) {
  const std::string commit(40, 'e');
  WriteAll(repository_ / "refs" / "pr" / "1", commit);
  WriteAll(repository_ / ".no_exist" / commit / "absent.json", "");
  EXPECT_THAT(Problems(repository_), IsEmpty());
}

}  // namespace
}  // namespace quern::verify
