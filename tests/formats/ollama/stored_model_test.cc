#include "formats/ollama/stored_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::ollama {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::OllamaStore;
using ::testing::SizeIs;
using testing::SmallGguf;
using testing::TempFolder;

constexpr const char* kSmall = "registry.ollama.ai/library/small/latest";

class StoredModelTest : public ::testing::Test {
 protected:
  fs::path root() const { return store_.root(); }
  OpenOptions options() const { return {.store = root()}; }
  fs::path AddSmall() const {
    return store_.AddModel(kSmall, {{"model", SmallGguf()}, {"template", "{{ .Prompt }}"}});
  }
  // Replaces a text in a manifest.
  static void Edit(const fs::path& path, const std::string& from, const std::string& to) {
    std::string text = ReadTextFile(path, kMaxManifestBytes);
    const size_t at = text.find(from);
    ASSERT_NE(at, text.npos);
    std::ofstream(path, std::ios::binary) << text.replace(at, from.size(), to);
  }
  std::string Digest() const { return testing::Sha256Hex(SmallGguf()); }

  const TempFolder folder_;
  const OllamaStore store_{folder_.path() / "models"};
};

TEST_F(StoredModelTest, OpensTheGgufOfAName) {
  AddSmall();
  for (const char* address : {"ollama:small", "ollama:small:latest", "ollama:library/small"}) {
    const auto source = OpenModel(address, options());
    EXPECT_EQ(source->format(), "ollama");
    EXPECT_EQ(source->layout(), "gguf");
    EXPECT_EQ(source->path(), address);
    EXPECT_THAT(source->tensors(), SizeIs(12));
  }
}

TEST_F(StoredModelTest, OpensManifestsAndBlobsByTheirPaths) {
  const fs::path manifest = AddSmall();
  EXPECT_EQ(OpenModel(manifest)->format(), "ollama");
  EXPECT_EQ(OpenModel(store_.BlobPath(Digest()))->format(), "gguf");
  fs::current_path(manifest.parent_path());
  EXPECT_EQ(OpenModel("latest")->format(), "ollama");
}

TEST_F(StoredModelTest, OpensAllOfTheRealManifestsShapes) {
  QUERN_SHARED_OR_SKIP(manifests, "fixtures/ollama/manifests");
  const auto paths = store_.AddLike(manifests);
  EXPECT_THAT(paths, SizeIs(12));
  const Store store(root());
  EXPECT_THAT(store.Models(), SizeIs(12));
  for (const fs::path& path : paths) {
    const StoredModel model = StoredModel::At(path);
    EXPECT_THAT(model.LayersOf("model"), SizeIs(1));
    EXPECT_THAT(model.Open(path, {})->tensors(), SizeIs(12));
    for (const Layer& layer : model.manifest().layers) {
      EXPECT_EQ(model.TextOf(layer).size(), layer.size);
    }
  }
}

TEST_F(StoredModelTest, FindsTheStoreWhereOllamaDoes) {
  AddSmall();
  ::setenv("OLLAMA_MODELS", root().c_str(), 1);
  EXPECT_EQ(OpenModel("ollama:small")->format(), "ollama");
  ::unsetenv("OLLAMA_MODELS");
  const char* home = std::getenv("HOME");
  const std::string before = home ? home : "";
  fs::create_directories(folder_.path() / "home/.ollama");
  fs::rename(root(), folder_.path() / "home/.ollama/models");
  ::setenv("HOME", (folder_.path() / "home").c_str(), 1);
  EXPECT_EQ(OpenModel("ollama:small")->format(), "ollama");
  ::setenv("HOME", folder_.path().c_str(), 1);
  EXPECT_QUERN_ERROR(OpenModel("ollama:small"), ErrorCode::kMissing);
  ::setenv("HOME", before.c_str(), 1);
}

TEST_F(StoredModelTest, APathThatExistsWins) {
  AddSmall();
  const TempFolder here;
  here.Write("ollama:small", SmallGguf(2));
  fs::current_path(here.path());
  EXPECT_EQ(OpenModel("ollama:small", options())->format(), "gguf");
}

TEST_F(StoredModelTest, ReadsManifestsOfTheSecondLayoutFirst) {
  const fs::path manifest = AddSmall();
  store_.AddModel("registry.ollama.ai/library/other/latest", {{"model", SmallGguf(2)}});
  const std::string digest = store_.AddBlob(ReadTextFile(
      root() / "manifests/registry.ollama.ai/library/other/latest", kMaxManifestBytes));
  const fs::path link = root() / "manifests-v2" / kSmall;
  fs::create_directories(link.parent_path());
  fs::create_symlink(store_.BlobPath(digest), link);
  const StoredModel model = StoredModel::Find("small", root());
  EXPECT_EQ(model.LayersOf("model").front().digest, testing::Sha256Hex(SmallGguf(2)));
  EXPECT_THAT(Store(root()).Models(), SizeIs(2));
}

TEST_F(StoredModelTest, ChoosesTheGgufOfAList) {
  const fs::path manifest = AddSmall();
  const std::string blob = store_.AddBlob(ReadTextFile(manifest, kMaxManifestBytes));
  std::ofstream(manifest, std::ios::binary)
      << R"({"schemaVersion":2,"mediaType":"application/vnd.ollama.manifest.list.v2+json",)"
      << R"("manifests":[{"runner":"mlx","format":"safetensors","digest":"sha256:)"
      << std::string(64, '0') << R"("},{"runner":"llamacpp","format":"gguf","digest":"sha256:)"
      << blob << "\"}]}";
  EXPECT_THAT(OpenModel("ollama:small", options())->tensors(), SizeIs(12));
}

TEST_F(StoredModelTest, OpensSplitSetsWhoseBlobsHaveNoNames) {
  QUERN_SHARED_OR_SKIP(first, "fixtures/gguf/dummy-00001-of-00002.gguf");
  const fs::path second = first.parent_path() / "dummy-00002-of-00002.gguf";
  const std::string a = ReadTextFile(first, 1 << 20), b = ReadTextFile(second, 1 << 20);
  store_.AddModel(kSmall, {{"model", b}, {"model", a}});
  const auto source = OpenModel("ollama:small", options());
  const auto expected = OpenModel(first);
  EXPECT_EQ(source->metadata(), expected->metadata());
  ASSERT_EQ(source->tensors().size(), expected->tensors().size());
  for (size_t i = 0; i < source->tensors().size(); ++i) {
    EXPECT_EQ(source->tensors()[i].name, expected->tensors()[i].name);
  }
  store_.AddModel(kSmall, {{"model", a}});
  EXPECT_QUERN_ERROR(OpenModel("ollama:small", options()), ErrorCode::kMissing);
  store_.AddModel(kSmall, {{"model", a}, {"model", SmallGguf()}});
  EXPECT_QUERN_ERROR(OpenModel("ollama:small", options()), ErrorCode::kMismatch);
}

TEST_F(StoredModelTest, OpensTensorLayersAsAHuggingFaceModel) {
  const auto tensor = [](const std::string& name) {
    const std::string header =
        R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    testing::Bytes bytes;
    bytes.Put<uint64_t>(header.size()).Text(header).Put(1.0f).Put(2.0f);
    return std::string(bytes.data().begin(), bytes.data().end());
  };
  store_.AddModel(kSmall, {{"tensor", tensor("a.weight"), "", "a.weight"},
                           {"tensor", tensor("b.weight"), "", "b.weight"},
                           {"json", R"({"model_type":"llama"})", "", "config.json"}});
  const auto source = OpenModel("ollama:small", options());
  EXPECT_EQ(source->layout(), "huggingface");
  EXPECT_THAT(source->tensors(), SizeIs(2));
  EXPECT_EQ(source->config()["model_type"], "llama");
  std::vector<uint8_t> bytes(8);
  source->Read(*source->FindTensor("b.weight"), 0, bytes);
  EXPECT_EQ(bytes[7], 0x40);
}

TEST_F(StoredModelTest, SaysWhatTheStoreHas) {
  AddSmall();
  const Error error = testing::ErrorOf([&] { OpenModel("ollama:smal", options()); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.what(), HasSubstr("small:latest"));
  EXPECT_QUERN_ERROR(OpenModel("ollama:small", {.store = folder_.path()}), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(OpenModel("ollama:../../small", options()), ErrorCode::kUsage);
  EXPECT_QUERN_ERROR(OpenModel("ollama:", options()), ErrorCode::kUsage);
}

TEST_F(StoredModelTest, RefusesSizesThatLie) {
  const fs::path manifest = AddSmall();
  Edit(manifest, "\"size\":15616", "\"size\":15617");
  EXPECT_QUERN_ERROR(OpenModel(manifest), ErrorCode::kMismatch);
}

TEST_F(StoredModelTest, RefusesAMissingBlob) {
  const fs::path manifest = AddSmall();
  fs::remove(store_.BlobPath(Digest()));
  EXPECT_QUERN_ERROR(OpenModel(manifest), ErrorCode::kMissing);
}

TEST_F(StoredModelTest, FollowsNothingOutOfTheStore) {
  const fs::path manifest = AddSmall();
  const fs::path blob = store_.BlobPath(Digest());
  fs::rename(blob, folder_.path() / "outside");
  fs::create_symlink(folder_.path() / "outside", blob);
  EXPECT_QUERN_ERROR(OpenModel(manifest), ErrorCode::kUnsafe);
  fs::remove(blob);
  fs::create_symlink("../../outside", blob);
  EXPECT_QUERN_ERROR(OpenModel(manifest), ErrorCode::kUnsafe);
  fs::remove(blob);
  fs::rename(folder_.path() / "outside", blob);
  // Links inside the store are as good as files.
  fs::rename(blob, root() / "blobs/moved");
  fs::create_symlink("moved", blob);
  EXPECT_THAT(OpenModel(manifest)->tensors(), SizeIs(12));
  // A manifest that is a link to somewhere else.
  fs::rename(manifest, folder_.path() / "manifest");
  fs::create_symlink(folder_.path() / "manifest", manifest);
  EXPECT_QUERN_ERROR(OpenModel("ollama:small", options()), ErrorCode::kUnsafe);
}

TEST_F(StoredModelTest, RefusesDigestsThatAreNone) {
  const std::string digest = Digest();
  std::string upper = digest;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (const std::string& bad :
       {digest.substr(1), digest + "0", upper, std::string("../../../../../etc/passwd"),
        "../" + digest.substr(3)}) {
    const fs::path manifest = AddSmall();
    Edit(manifest, digest, bad);
    EXPECT_QUERN_ERROR(OpenModel(manifest), ErrorCode::kBadValue) << bad;
  }
}

TEST_F(StoredModelTest, RefusesManifestsOutsideOfAStore) {
  const fs::path manifest = AddSmall();
  fs::copy_file(manifest, folder_.path() / "loose");
  EXPECT_QUERN_ERROR(OpenModel(folder_.path() / "loose"), ErrorCode::kMissing);
}

TEST_F(StoredModelTest, RefusesAManifestWithoutWeights) {
  store_.AddModel(kSmall, {{"template", "x"}});
  EXPECT_QUERN_ERROR(OpenModel("ollama:small", options()), ErrorCode::kMissing);
}

}  // namespace
}  // namespace quern::formats::ollama
