#include "formats/huggingface/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "formats/reader.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::huggingface {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing::TempFolder;

const std::string kFirst = "0123456" + std::string(33, 'a');
const std::string kSecond = "0123457" + std::string(33, 'a');

class HubCacheTest : public ::testing::Test {
 protected:
  HubCacheTest() {
    Add("models--org--name", kFirst, 1);
    folder_.Write("hub/models--org--name/refs/main", kFirst);
  }
  fs::path root() const { return folder_.path() / "hub"; }
  // A snapshot with one GGUF, as the hub's library links it.
  void Add(const std::string& model, const std::string& commit, uint32_t seed) const {
    const std::string content = testing::SmallGguf(seed);
    const std::string digest = testing::Sha256Hex(content);
    folder_.Write("hub/" + model + "/blobs/" + digest, content);
    const fs::path snapshot = root() / model / "snapshots" / commit;
    fs::create_directories(snapshot);
    fs::create_symlink("../../blobs/" + digest, snapshot / "model.gguf");
  }
  fs::path Find(const std::string& text) const {
    return HubCache(root()).Snapshot(ParseHubModel(text));
  }
  const TempFolder folder_;
};

TEST_F(HubCacheTest, FindsRevisionsByRefCommitAndAbbreviation) {
  Add("models--org--name", kSecond, 2);
  folder_.Write("hub/models--org--name/refs/refs/pr/1", kSecond + "\n");
  EXPECT_EQ(Find("org/name").filename(), kFirst);
  EXPECT_EQ(Find("org/name@main").filename(), kFirst);
  EXPECT_EQ(Find("org/name@refs/pr/1").filename(), kSecond);
  EXPECT_EQ(Find("org/name@" + kSecond).filename(), kSecond);
  EXPECT_EQ(Find("org/name@0123457").filename(), kSecond);
  EXPECT_QUERN_ERROR(Find("org/name@012345"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Find("org/name@v1"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Find("org/other"), ErrorCode::kMissing);
}

TEST_F(HubCacheTest, AnAbbreviationOfSeveralIsRefused) {
  Add("models--org--name", kFirst.substr(0, 39) + "b", 2);
  EXPECT_QUERN_ERROR(Find("org/name@0123456"), ErrorCode::kUsage);
}

TEST_F(HubCacheTest, WithoutARefTheOnlySnapshotCounts) {
  fs::remove_all(root() / "models--org--name/refs");
  EXPECT_EQ(Find("org/name").filename(), kFirst);
  Add("models--org--name", kSecond, 2);
  EXPECT_QUERN_ERROR(Find("org/name"), ErrorCode::kMissing);
}

TEST_F(HubCacheTest, ListsModels) {
  Add("models--gpt2", kSecond, 3);
  fs::create_directories(root() / "datasets--org--name");
  const auto models = HubCache(root()).Models();
  ASSERT_THAT(models, SizeIs(2));
  EXPECT_EQ(models[0].id, "gpt2");
  EXPECT_EQ(models[1].id, "org/name");
  EXPECT_EQ(Find("gpt2").filename(), kSecond);
}

TEST_F(HubCacheTest, EnvironmentDecidesAsInTheHubsLibrary) {
  const std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) {
    ::unsetenv(name);
  }
  struct Case {
    const char* variable;
    const char* below;
  };
  fs::path at = root();
  for (const Case& c :
       {Case{"HF_HUB_CACHE", "."}, Case{"HUGGINGFACE_HUB_CACHE", "."}, Case{"HF_HOME", "hub"},
        Case{"XDG_CACHE_HOME", "huggingface/hub"}, Case{"HOME", ".cache/huggingface/hub"}}) {
    const fs::path base = folder_.path() / c.variable;
    const fs::path to = (base / c.below).lexically_normal();
    fs::create_directories(to.parent_path());
    fs::remove(to);
    fs::rename(at, to);
    at = to;
    ::setenv(c.variable, base.c_str(), 1);
    EXPECT_THAT(OpenModel("hf:org/name")->tensors(), SizeIs(12)) << c.variable;
    if (std::string(c.variable) != "HOME") ::unsetenv(c.variable);
  }
  ::setenv("HOME", home.c_str(), 1);
}

TEST_F(HubCacheTest, AddressesOpenSnapshots) {
  ::setenv("HF_HUB_CACHE", root().c_str(), 1);
  EXPECT_THAT(OpenModel("hf:org/name@main")->tensors(), SizeIs(12));
  EXPECT_QUERN_ERROR(OpenModel("hf:org/name@nothing"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(OpenModel("hf:../name"), ErrorCode::kUsage);
  ::unsetenv("HF_HUB_CACHE");
}

TEST_F(HubCacheTest, FollowsNothingOutOfTheCache) {
  const fs::path link = root() / "models--org--name/snapshots" / kFirst / "config.json";
  fs::create_symlink("/etc/passwd", link);
  EXPECT_QUERN_ERROR(Find("org/name"), ErrorCode::kUnsafe);
  fs::remove(link);
  folder_.Write("outside", "{}");
  fs::create_symlink("../../../../outside", link);
  EXPECT_QUERN_ERROR(Find("org/name"), ErrorCode::kUnsafe);
  fs::remove(link);
  fs::create_symlink("config.json", link);  // to itself
  EXPECT_QUERN_ERROR(Find("org/name"), ErrorCode::kUnsafe);
  fs::remove(link);
  const fs::path away = folder_.path() / "away";
  fs::rename(link.parent_path(), away);
  fs::create_directory_symlink(away, link.parent_path());
  EXPECT_QUERN_ERROR(Find("org/name"), ErrorCode::kUnsafe);
}

TEST_F(HubCacheTest, ARefThatHoldsNoCommitIsRefused) {
  for (const std::string& text :
       {std::string("../../../etc"), std::string(), std::string(40, 'G'), kFirst + "/../.."}) {
    folder_.Write("hub/models--org--name/refs/main", text);
    EXPECT_QUERN_ERROR(Find("org/name"), ErrorCode::kBadValue) << text;
  }
}

TEST(HubModel, RefusesWhatTheHubDoes) {
  EXPECT_EQ(ParseHubModel("org/name@v1.0").revision, "v1.0");
  EXPECT_EQ(ParseHubModel("gpt2").id, "gpt2");
  for (const char* text :
       {"", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a/b@", "a/b@..", "a/b@../../x", "a/b@/x",
        "a--b/c", ".a/b", "a/b.", "a b/c", "a/b@x//y", "a/b@.git/x"}) {
    EXPECT_QUERN_ERROR(ParseHubModel(text), ErrorCode::kUsage) << text;
  }
}

}  // namespace
}  // namespace quern::formats::huggingface
