#include "formats/ollama/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/core/file.h"
#include "tests/support/fixtures.h"

namespace quern::formats::ollama {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::SizeIs;

const std::string kDigest = std::string(60, 'a') + "0123";

std::string LayerJson(const std::string& digest, const std::string& size = "5") {
  return R"({"mediaType":"application/vnd.ollama.image.model","digest":")" + digest +
         R"(","size":)" + size + "}";
}

std::string ManifestJson(const std::string& layers, const std::string& more = "") {
  return R"({"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",)"
         R"("config":)" +
         LayerJson("sha256:" + std::string(64, 'c')) + R"(,"layers":[)" + layers + "]" + more + "}";
}

TEST(OllamaManifest, ReadsEveryFieldOfTheRealOnes) {
  QUERN_SHARED_OR_SKIP(folder, "fixtures/ollama/manifests");
  size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    SCOPED_TRACE(entry.path());
    ++count;
    const std::string text = ReadTextFile(entry.path(), kMaxManifestBytes);
    const auto manifests = ParseManifests(text, entry.path().string());
    ASSERT_THAT(manifests, SizeIs(1));
    const Manifest& manifest = manifests.front();
    const auto json = nlohmann::json::parse(text);
    EXPECT_EQ(manifest.config.media_type, kConfigType);
    EXPECT_EQ("sha256:" + manifest.config.digest, json["config"]["digest"]);
    EXPECT_EQ(manifest.config.size, json["config"]["size"]);
    ASSERT_EQ(manifest.layers.size(), json["layers"].size());
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const Layer& layer = manifest.layers[i];
      const auto& expected = json["layers"][i];
      EXPECT_EQ(layer.media_type, expected["mediaType"]);
      EXPECT_EQ(std::string(kLayerTypePrefix) + std::string(layer.kind()), expected["mediaType"]);
      EXPECT_EQ("sha256:" + layer.digest, expected["digest"]);
      EXPECT_EQ(layer.size, expected["size"]);
      EXPECT_EQ(layer.from, expected.value("from", ""));
    }
  }
  EXPECT_EQ(count, 12u);
}

TEST(OllamaManifest, ReadsListsOfManifests) {
  const std::string text =
      R"({"schemaVersion":2,"mediaType":"application/vnd.ollama.manifest.list.v2+json",)"
      R"("manifests":[{"runner":"mlx","format":"safetensors","digest":"sha256:)" +
      kDigest + R"("},{"runner":"llamacpp","format":"gguf",)" +
      ManifestJson(LayerJson("sha256:" + kDigest)).substr(1) + "]}";
  const auto manifests = ParseManifests(text, "m");
  ASSERT_THAT(manifests, SizeIs(2));
  EXPECT_EQ(manifests[0].reference, kDigest);
  EXPECT_EQ(manifests[0].runner, "mlx");
  EXPECT_EQ(manifests[1].format, "gguf");
  EXPECT_THAT(manifests[1].layers, SizeIs(1));
}

TEST(OllamaManifest, TakesOneDigestOnly) {
  const Where where{"m", {}, "digest"};
  EXPECT_EQ(ParseDigest("sha256:" + kDigest, where), kDigest);
  const std::string hex = kDigest;
  const std::vector<std::string> wrong = {hex,
                                          "sha256-" + hex,
                                          "sha256:" + hex.substr(1),
                                          "sha256:" + hex + "0",
                                          "SHA256:" + hex,
                                          "sha256:" + std::string(64, 'A'),
                                          "sha256:../../../../../../etc/passwd",
                                          "sha256:" + hex.substr(0, 58) + "../../",
                                          "sha512:" + hex,
                                          std::string(),
                                          "sha256:" + hex + "\n",
                                          "sha256: " + hex.substr(1)};
  for (const std::string& text : wrong) {
    EXPECT_QUERN_ERROR(ParseDigest(text, where), ErrorCode::kBadValue) << text;
    EXPECT_QUERN_ERROR(ParseManifests(ManifestJson(LayerJson(nlohmann::json(text).dump().substr(
                                          1, nlohmann::json(text).dump().size() - 2))),
                                      "m"),
                       ErrorCode::kBadValue)
        << text;
  }
}

TEST(OllamaManifest, NamesWhatIsWrong) {
  const std::string good = LayerJson("sha256:" + kDigest);
  struct Case {
    std::string text;
    ErrorCode code;
  };
  const Case cases[] = {
      {"", ErrorCode::kBadText},
      {"{}", ErrorCode::kBadMagic},
      {"[]", ErrorCode::kBadType},
      {R"({"schemaVersion":1})", ErrorCode::kBadMagic},
      {R"({"schemaVersion":2,"mediaType":"text/html"})", ErrorCode::kBadMagic},
      {R"({"schemaVersion":2,"schemaVersion":2})", ErrorCode::kDuplicate},
      {R"({"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"})",
       ErrorCode::kMissing},
      {ManifestJson(good).substr(0, 200), ErrorCode::kBadText},
      {ManifestJson("5"), ErrorCode::kBadType},
      {ManifestJson("{}"), ErrorCode::kMissing},
      {ManifestJson(LayerJson("sha256:" + kDigest, "-1")), ErrorCode::kBadValue},
      {ManifestJson(LayerJson("sha256:" + kDigest, "1.5")), ErrorCode::kBadValue},
      {ManifestJson(LayerJson("sha256:" + kDigest, "\"5\"")), ErrorCode::kBadValue},
      {ManifestJson(LayerJson("sha256:" + kDigest, "1e40")), ErrorCode::kBadValue},
      {ManifestJson(good + "," + LayerJson("sha256:" + kDigest, "6")), ErrorCode::kDuplicate},
      {ManifestJson(good, R"(,"runner":5)"), ErrorCode::kBadType},
  };
  for (const Case& c : cases) {
    EXPECT_QUERN_ERROR(ParseManifests(c.text, "m"), c.code) << c.text;
  }
}

TEST(OllamaManifest, ErrorsNameTheField) {
  const Error error = testing::ErrorOf(
      [] { ParseManifests(ManifestJson(LayerJson("sha256:" + kDigest) + ",{}"), "m"); });
  EXPECT_EQ(error.where().file, "m");
  EXPECT_EQ(error.where().subject, "layers[1].mediaType");
}

TEST(OllamaManifest, MayHaveNoLayers) {
  const std::string whole = ManifestJson("");
  for (const std::string with : {",\"layers\":null}", "}"}) {
    const auto manifests = ParseManifests(whole.substr(0, whole.find(",\"layers\"")) + with, "m");
    ASSERT_THAT(manifests, SizeIs(1));
    EXPECT_THAT(manifests[0].layers, SizeIs(0));
    EXPECT_EQ(manifests[0].config.digest, std::string(64, 'c'));
  }
}

}  // namespace
}  // namespace quern::formats::ollama
