// tokenizer.* of the golden conversions: keys, order, types and values as llama.cpp wrote them.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/tokenizer_metadata.h"
#include "formats/core/json.h"
#include "tests/converters/tokenizer/folder_source_testing.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

namespace fs = std::filesystem;

std::string ShortHash(std::string_view bytes) {
  std::array<unsigned char, 32> digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + 8, ""));
}

std::string RawBytes(const Array& array) {
  testing::Bytes raw;
  std::visit(
      [&](const auto& items) {
        using Items = std::decay_t<decltype(items)>;
        if constexpr (std::is_same_v<Items, std::vector<std::string>>) {
          for (const std::string& item : items)
            raw.Put(static_cast<uint64_t>(item.size())).Text(item);
        } else if constexpr (!std::is_same_v<Items, std::monostate>) {
          for (const auto item : items) raw.Put(item);
        }
      },
      array.items);
  return std::string(raw.data().begin(), raw.data().end());
}

// A value as summarize_gguf.py prints it.
Json Summary(const Value& value) {
  return std::visit(
      [](const auto& item) -> Json {
        using Item = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<Item, Array>) {
          return {{"of", ValueTypeName(item.type())},
                  {"n", item.size()},
                  {"sha256", ShortHash(RawBytes(item))}};
        } else if constexpr (std::is_same_v<Item, std::string>) {
          if (item.size() <= 100) return item;
          return {{"len", item.size()}, {"sha256", ShortHash(item)}};
        } else {
          return item;
        }
      },
      value);
}

struct Family {
  std::string_view name;
  std::string_view kind;
  std::string_view not_ours = {};  // a key that the architecture's own code writes
};

// Where the families are: $QUERN_FAMILIES, or built by families.py where numpy is installed.
std::optional<fs::path> FamilyFolder(std::string_view name) {
  if (const char* folder = std::getenv("QUERN_FAMILIES")) return fs::path(folder) / name;
  const auto script = testing::Shared("conformance/families.py");
  const auto tokenizers = testing::Shared("fixtures/tokenizers");
  if (!script || !tokenizers) return std::nullopt;
  static const testing::TempFolder built;
  const std::string command =
      fmt::format("/usr/bin/python3 '{}' '{}' '{}' {} > /dev/null 2>&1", script->string(),
                  built.path().string(), tokenizers->string(), name);
  if (std::system(command.c_str()) != 0) return std::nullopt;
  return built.path() / name;
}

class GoldenTokenizerSlow : public ::testing::TestWithParam<Family> {};

TEST_P(GoldenTokenizerSlow, HasTheKeysOfLlamaCpp) {
  const Family family = GetParam();
  QUERN_SHARED_OR_SKIP(path, fmt::format("conformance/golden/{}.json", family.name));
  const auto folder = FamilyFolder(family.name);
  if (!folder || !fs::exists(*folder)) GTEST_SKIP() << "families.py cannot run (needs numpy)";

  const testing::FolderSource source(*folder);
  Metadata metadata;
  std::vector<std::string> notes;
  AddTokenizerMetadata(source, {.kind = std::string(family.kind)}, metadata, notes);

  Json expected = Json::array();
  const Json golden = ReadJsonFile(path);
  for (const Json& entry : golden["kv"]) {
    const std::string key = entry[0];
    if (key.starts_with("tokenizer.") && key != family.not_ours) expected.push_back(entry);
  }
  Json actual = Json::array();
  for (const auto& [key, value] : metadata.entries())
    actual.push_back({key, ValueTypeName(TypeOf(value)), Summary(value)});
  ASSERT_EQ(actual.size(), expected.size()) << actual.dump(1);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(actual[i], expected[i]);
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenTokenizerSlow,
                         ::testing::Values(Family{"llama2", "auto"}, Family{"llama31", "auto"},
                                           Family{"mixtral", "auto"}, Family{"smollm2", "auto"},
                                           Family{"qwen3", "sentencepiece_or_gpt2"},
                                           Family{"pythia", "gpt2"},
                                           Family{"phi2", "gpt2", "tokenizer.ggml.add_bos_token"},
                                           Family{"gpt2", "gpt2"}),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace quern::converters
