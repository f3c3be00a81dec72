#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"
#include "tests/verify/verify_testing.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using quern::testing::OllamaStore;
using quern::testing::SmallGguf;
using quern::testing::TempFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const std::string kHost = "registry.ollama.ai/library/";

class OllamaChecks : public ::testing::Test {
 protected:
  OllamaChecks() : store_(folder_.path() / "models") {
    for (uint32_t seed : {1, 2}) {
      weights_.push_back(SmallGguf(seed));
      manifests_.push_back(store_.AddModel(
          kHost + "small/" + std::to_string(seed),
          {{"model", weights_.back(), "", ""}, {"template", "{{ .Prompt }}", "", ""}}));
    }
    digest_ = quern::testing::Sha256Hex(weights_.front());
    blob_ = store_.BlobPath(digest_);
  }

  std::string Blob(const std::string& kind) const { return kind + " sha256-" + digest_; }

  TempFolder folder_;
  OllamaStore store_;
  std::vector<std::string> weights_;
  std::vector<fs::path> manifests_;
  std::string digest_;
  fs::path blob_;
};

TEST_F(OllamaChecks, PassAWholeStore) {
  const CheckList list = Checked(store_.root());
  EXPECT_THAT(ProblemsOf(list), IsEmpty());
  EXPECT_THAT(list.orphans(), IsEmpty());
  // Blobs: two models, one template, two configs (their digests differ). Twice a manifest, once
  // the store.
  EXPECT_EQ(list.files().size(), 5u);
  EXPECT_EQ(list.checked(), 8u);
  EXPECT_GT(list.bytes(), weights_[0].size() + weights_[1].size());
}

TEST_F(OllamaChecks, PassAStoreLikeTheRealOnes) {
  QUERN_SHARED_OR_SKIP(manifests, "fixtures/ollama/manifests");
  EXPECT_GE(store_.AddLike(manifests).size(), 12u);
  EXPECT_THAT(Problems(store_.root()), IsEmpty());
}

TEST_F(OllamaChecks, FindAFlippedBit) {
  FlipBit(blob_, 5);
  EXPECT_THAT(Problems(store_.root()), ElementsAre(Blob("checksum")));
}

TEST_F(OllamaChecks, FindATruncatedBlob) {
  fs::resize_file(blob_, fs::file_size(blob_) - 32);
  EXPECT_THAT(Problems(store_.root()),
              UnorderedElementsAre(Blob("checksum"), Blob("size"), Blob("truncated")));
}

TEST_F(OllamaChecks, FindAZeroedBlobAndSayThatItIsZero) {
  Zero(blob_);
  const CheckList list = Checked(store_.root());
  EXPECT_THAT(ProblemsOf(list), UnorderedElementsAre(Blob("checksum"), Blob("bad_magic")));
  EXPECT_THAT(list.problems()[1].detail, HasSubstr("every byte is zero"));
}

TEST_F(OllamaChecks, FindARenamedBlob) {
  const std::string other(64, 'a');
  fs::rename(blob_, store_.BlobPath(other));
  EXPECT_THAT(
      Problems(store_.root()),
      UnorderedElementsAre(Blob("missing"), "checksum sha256-" + other, "orphan sha256-" + other));
}

TEST_F(OllamaChecks, FindABlobWhoseNameIsNoDigest) {
  WriteAll(store_.root() / "blobs" / "notes.txt", "x");
  EXPECT_THAT(Problems(store_.root()), ElementsAre("bad_name notes.txt"));
}

TEST_F(OllamaChecks, FindAMissingLayer) {
  fs::remove(blob_);
  EXPECT_THAT(Problems(store_.root()), ElementsAre(Blob("missing")));
}

TEST_F(OllamaChecks, FindAWrongSizeInAManifest) {
  Replace(manifests_[0], "\"size\":" + std::to_string(weights_[0].size()), "\"size\":17");
  const CheckList list = Checked(store_.root());
  EXPECT_THAT(ProblemsOf(list), ElementsAre(Blob("size")));
  EXPECT_THAT(list.problems()[0].detail, HasSubstr("manifests/" + kHost + "small/1"));
}

TEST_F(OllamaChecks, FindDigestsThatAreNone) {
  for (const std::string& bad :
       {std::string("sha256:../../../etc/passwd"), "sha256:" + digest_.substr(1),
        "sha256:" + digest_ + "0", "sha512:" + digest_, "sha256:A" + digest_.substr(1)}) {
    const std::string good = ReadAll(manifests_[0]);
    Replace(manifests_[0], "sha256:" + digest_, bad);
    const CheckList list = Checked(store_.root());
    EXPECT_THAT(ProblemsOf(list), ElementsAre("bad_value 1")) << bad;
    WriteAll(manifests_[0], good);
  }
}

TEST_F(OllamaChecks, FindADigestOfABlobThatIsNotThere) {
  const std::string other(64, 'b');
  Replace(manifests_[0], "sha256:" + digest_, "sha256:" + other);
  EXPECT_THAT(Problems(store_.root()),
              UnorderedElementsAre("missing sha256-" + other, Blob("orphan")));
}

TEST_F(OllamaChecks, FindAnOrphanAndListItWhereItIsAllowed) {
  const std::string orphan = store_.AddBlob("nobody's");
  EXPECT_THAT(Problems(store_.root()), ElementsAre("orphan sha256-" + orphan));
  const CheckList list = Checked(store_.root(), {.open = {}, .allow_orphans = true});
  EXPECT_THAT(ProblemsOf(list), IsEmpty());
  ASSERT_EQ(list.orphans().size(), 1u);
  EXPECT_EQ(list.orphans()[0].bytes, 8u);
}

TEST_F(OllamaChecks, FindAManifestThatIsCutShortAndCallItsBlobsNoOrphans) {
  fs::resize_file(manifests_[0], fs::file_size(manifests_[0]) / 2);
  EXPECT_THAT(Problems(store_.root()), ElementsAre("bad_text 1"));
  fs::resize_file(manifests_[0], 0);
  EXPECT_THAT(Problems(store_.root()), ElementsAre("bad_text 1"));
}

TEST_F(OllamaChecks, FindAnUnfinishedDownloadOnce) {
  WriteAll(store_.root() / "blobs" / ("sha256-" + digest_ + "-partial"), "");
  WriteAll(store_.root() / "blobs" / ("sha256-" + digest_ + "-partial-0"), "{}");
  EXPECT_THAT(Problems(store_.root()), ElementsAre(Blob("incomplete") + "-partial"));
}

TEST_F(OllamaChecks, FollowNoLinkOutOfTheStore) {
  const fs::path outside = folder_.Write("outside", weights_[0]);
  fs::remove(blob_);
  fs::create_symlink(outside, blob_);
  EXPECT_THAT(Problems(store_.root()), ElementsAre(Blob("unsafe")));
  fs::remove(blob_);
  fs::create_symlink("/nowhere/at/all", blob_);
  EXPECT_THAT(Problems(store_.root()), ElementsAre(Blob("dangling")));
}

TEST_F(OllamaChecks, FollowNoManifestOutOfTheStore) {
  const fs::path outside = folder_.Write("outside", ReadAll(manifests_[0]));
  fs::remove(manifests_[0]);
  fs::create_symlink(outside, manifests_[0]);
  EXPECT_THAT(Problems(store_.root()), ElementsAre("unsafe 1"));
}

TEST_F(OllamaChecks, CheckOneModelByItsAddressOrManifestAlone) {
  FlipBit(store_.BlobPath(quern::testing::Sha256Hex(weights_[1])));
  const CheckOptions options{.open = {.store = store_.root()}};
  EXPECT_THAT(Problems("ollama:small:1", options), IsEmpty());
  EXPECT_THAT(Problems("ollama:small:2", options), Contains(HasSubstr("checksum sha256-")));
  EXPECT_THAT(Problems(manifests_[0]), IsEmpty());
  EXPECT_THAT(Problems(manifests_[1]), Contains(HasSubstr("checksum sha256-")));
  EXPECT_QUERN_ERROR(Problems("ollama:other", options), ErrorCode::kMissing);
}

TEST_F(OllamaChecks, CheckOneBlobByItsName) {
  EXPECT_THAT(Problems(blob_), IsEmpty());
  FlipBit(blob_, 5);
  EXPECT_THAT(Problems(blob_), ElementsAre(Blob("checksum")));
}

TEST_F(OllamaChecks, FindABlobThatIsALinkToAnother) {
  const std::string other = quern::testing::Sha256Hex(weights_[1]);
  fs::remove(store_.BlobPath(other));
  fs::create_symlink(blob_, store_.BlobPath(other));
  const CheckList list = Checked(store_.root());
  ASSERT_THAT(ProblemsOf(list), ElementsAre(Blob("checksum")));
  EXPECT_THAT(list.problems()[0].detail, HasSubstr("the link sha256-" + other));
}

TEST_F(OllamaChecks, FindWhatAnImportLeftThatDidNotFinish) {
  WriteAll(blob_.string() + ".partial", "half");
  WriteAll(blob_.string() + ".17.partial", "half");
  WriteAll(manifests_[0].string() + ".partial", "{");
  EXPECT_THAT(Problems(store_.root()),
              UnorderedElementsAre(Blob("incomplete") + ".partial",
                                   Blob("incomplete") + ".17.partial", "incomplete 1.partial"));
}

}  // namespace
}  // namespace quern::verify
