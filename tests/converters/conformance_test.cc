// Whole conversions against ../shared/conformance/golden: every key of Convert() in order, with
// type and value, the tokenizer's included. Tensors are golden_test.cc's.
#if __has_include("converters/tokenizer/tokenizer_metadata.cc")
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <string>

#include "converters/converter.h"
#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/support/families.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

std::string Sha16(const std::string& bytes) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest.data());
  std::string hex;
  for (size_t i = 0; i < 8; ++i) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", digest[i]);
    hex += text;
  }
  return hex;
}

// An array's items as the file stores them.
std::string Stored(const Array& array) {
  std::string bytes;
  std::visit(
      [&]<typename T>(const T& items) {
        if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          for (const auto& item : items) {
            const uint64_t size = item.size();
            bytes.append(reinterpret_cast<const char*>(&size), 8);
            bytes += item;
          }
        } else if constexpr (std::is_same_v<T, std::vector<bool>>) {
          for (const bool item : items) bytes += item ? '\1' : '\0';
        } else if constexpr (!std::is_same_v<T, std::monostate>) {
          bytes.assign(reinterpret_cast<const char*>(items.data()),
                       items.size() * sizeof(typename T::value_type));
        }
      },
      array.items);
  return bytes;
}

size_t CodePoints(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// As ../shared/conformance/summarize_gguf.py writes a value.
Json Summary(const Value& value) {
  if (const auto* array = std::get_if<Array>(&value)) {
    return {{"of", ValueTypeName(array->type())},
            {"n", array->size()},
            {"sha256", Sha16(Stored(*array))}};
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (CodePoints(*text) <= 100) return *text;
    return {{"len", CodePoints(*text)}, {"sha256", Sha16(*text)}};
  }
  Json json;
  std::visit(
      [&]<typename T>(const T& v) {
        if constexpr (std::is_same_v<T, float>) {
          json = static_cast<double>(v);
        } else if constexpr (!std::is_same_v<T, Array>) {
          json = v;
        }
      },
      value);
  return json;
}

class SlowConformance : public ::testing::TestWithParam<std::string> {};

TEST_P(SlowConformance, EveryKeyEqualsLlamaCpps) {
  const auto folder = testing::FamilyFolder(GetParam());
  const auto golden = testing::Shared("conformance/golden/" + GetParam() + ".json");
  if (!folder || !golden) GTEST_SKIP() << "no shared/conformance, or no Python with numpy";
  const OutputModel model = Convert(*formats::OpenModel(*folder), {});
  Json expected = Json::array(), actual = Json::array();
  const Json summary = ReadJsonFile(*golden);
  for (const auto& key : summary["kv"]) {
    if (key[0] != "general.file_type") expected.push_back(key);  // the plan sets it
  }
  for (const auto& [key, value] : model.metadata.entries()) {
    if (key == "general.file_type") continue;
    actual.push_back({key, ValueTypeName(TypeOf(value)), Summary(value)});
  }
  EXPECT_EQ(actual.dump(1), expected.dump(1));
}

INSTANTIATE_TEST_SUITE_P(Families, SlowConformance, ::testing::ValuesIn(testing::FamilyNames()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace quern::converters
#endif
