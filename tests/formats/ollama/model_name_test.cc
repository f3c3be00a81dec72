#include "formats/ollama/model_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace quern::formats::ollama {
namespace {

TEST(OllamaModelName, FillsWhatIsLeftOut) {
  EXPECT_EQ(ParseModelName("llama3.1"),
            (ModelName{"registry.ollama.ai", "library", "llama3.1", "latest"}));
  EXPECT_EQ(ParseModelName("llama3.1:8b-instruct-q4_K_M").tag, "8b-instruct-q4_K_M");
  EXPECT_EQ(ParseModelName("someone/model:1"),
            (ModelName{"registry.ollama.ai", "someone", "model", "1"}));
  EXPECT_EQ(ParseModelName("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
            (ModelName{"hf.co", "bartowski", "Llama-3.2-1B-Instruct-GGUF", "Q4_K_M"}));
  EXPECT_EQ(ParseModelName("localhost:5000/me/model:v1"),
            (ModelName{"localhost:5000", "me", "model", "v1"}));
}

TEST(OllamaModelName, IsAsShortAsOllamaPrintsIt) {
  for (const char* text : {"llama3.1:8b", "someone/model:latest", "hf.co/a/b:Q8_0"}) {
    EXPECT_EQ(ParseModelName(text).ShortText(), text);
  }
}

TEST(OllamaModelName, PathGivesTheNameBack) {
  const ModelName name = ParseModelName("hf.co/a/b:Q8_0");
  EXPECT_EQ(name.ManifestPath(), "hf.co/a/b/Q8_0");
  EXPECT_EQ(ModelNameFromPath(name.ManifestPath()), name);
  for (const char* path :
       {"a/b/c", "a/b/c/d/e", "../b/c/d", "a/b/c/..", "a/.b/c/d", ".git/b/c/d"}) {
    EXPECT_FALSE(ModelNameFromPath(path)) << path;
  }
}

TEST(OllamaModelName, RefusesPartsThatCouldLeaveAFolder) {
  for (const char* text :
       {"", ":", "a:", ":a", "../../etc/passwd", "..", "a/..", "/a", "a//b", "a/b/c/d", ".a", "-a",
        "a:..", "a:../../b", "a b", "a\nb", "name.space/a", "a\\b", "a:b:c"}) {
    EXPECT_QUERN_ERROR(ParseModelName(text), ErrorCode::kUsage) << text;
  }
  EXPECT_QUERN_ERROR(ParseModelName(std::string(81, 'a')), ErrorCode::kUsage);
  EXPECT_QUERN_ERROR(ParseModelName(std::string("a\0b", 3)), ErrorCode::kUsage);
}

}  // namespace
}  // namespace quern::formats::ollama
