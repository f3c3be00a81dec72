#include "formats/ollama/manifest_writer.h"

#include <gtest/gtest.h>

#include "formats/core/file.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::ollama {
namespace {

using testing::Sha256Hex;

// What the configs of published models say; their digests are in ../shared/fixtures/ollama. Those
// of llama3.1:8b and vicuna:13b are not known.
TEST(OllamaConfig, HasTheDigestsOfPublishedModels) {
  QUERN_SHARED_OR_SKIP(folder, "fixtures/ollama/manifests/registry.ollama.ai/library");
  struct Case {
    const char* model;
    Config config;
  };
  const Case cases[] = {
      {"athene-v2/latest", {{"qwen2"}, "72.7B", "Q4_K_M"}},
      {"command-r-plus/latest", {{"command-r"}, "103.8B", "Q4_0"}},
      {"dolphin-llama3/8b", {{"llama"}, "8B", "Q4_0"}},
      {"gemma2/27b", {{"gemma2"}, "27.2B", "Q4_0"}},
      {"granite3.2-vision/latest", {{"granite", "clip"}, "2.5B", "Q4_K_M"}},
      {"mistral-large/latest", {{"llama"}, "122.6B", "Q4_K_M"}},
      {"nous-hermes2/34b", {{"llama"}, "34B", "Q4_0"}},
      {"phi4/latest", {{"phi3"}, "14.7B", "Q4_K_M"}},
      {"qwen3-coder/latest", {{"qwen3moe"}, "30.5B", "Q4_K_M"}},
      {"snowflake-arctic-embed/22m", {{"bert"}, "23M", "F16"}},
  };
  for (const Case& c : cases) {
    const auto path = folder / (std::string(c.model) + ".json");
    const Manifest manifest =
        ParseManifests(ReadTextFile(path, kMaxManifestBytes), path.string()).front();
    const std::string text = ConfigText(c.config, manifest.layers);
    EXPECT_EQ(text.size(), manifest.config.size) << c.model;
    EXPECT_EQ(Sha256Hex(text), manifest.config.digest) << c.model;
    EXPECT_EQ(ParseManifests(ManifestText(manifest), "again").front().layers.size(),
              manifest.layers.size());
  }
}

TEST(OllamaManifestText, HasEveryFieldAndReadsBack) {
  const std::string a(64, 'a'), b(64, 'b');
  const Manifest manifest{.config = {"c", a, 5, "", ""}, .layers = {{"x", b, 6, "/from", "name"}}};
  EXPECT_EQ(ManifestText(manifest),
            "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+"
            "json\",\"config\":{\"mediaType\":\"c\",\"digest\":\"sha256:" +
                a + "\",\"size\":5},\"layers\":[{\"mediaType\":\"x\",\"digest\":\"sha256:" + b +
                "\",\"size\":6,\"from\":\"/from\",\"name\":\"name\"}]}\n");
}

TEST(OllamaHumanCount, IsAsOllamaPrintsIt) {
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(12384), "12K");
  EXPECT_EQ(HumanCount(22'565'376), "22.57M");
  EXPECT_EQ(HumanCount(23'000'000), "23M");
  EXPECT_EQ(HumanCount(8'030'261'312), "8.0B");
  EXPECT_EQ(HumanCount(34'000'000'000), "34B");
  EXPECT_EQ(HumanCount(122'610'069'504), "122.6B");
}

}  // namespace
}  // namespace quern::formats::ollama
