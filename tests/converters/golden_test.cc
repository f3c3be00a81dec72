// The eight golden conversions of ../shared/conformance: what llama.cpp's converter made of each
// family. Keys of the tokenizer are left to conformance_test.cc, which checks whole conversions.
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "converters/conversion.h"
#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/support/families.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

float FloatOfHalf(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -24)
                              : std::ldexp(1024.0f + static_cast<float>(mantissa), exponent - 25);
  return half >> 15 ? -magnitude : magnitude;
}

// Finite values below 65504 only, round to nearest even.
uint16_t HalfOfFloat(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::abs(value);
  if (magnitude < std::ldexp(1.0f, -14)) {
    return static_cast<uint16_t>(sign |
                                 static_cast<int>(std::nearbyint(std::ldexp(magnitude, 24))));
  }
  const int exponent = std::ilogb(magnitude);
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + mantissa));
}

std::vector<float> Floats(TensorType type, const std::vector<uint8_t>& raw) {
  std::vector<float> values(raw.size() / Info(type).block_bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half = 0;
    if (type == TensorType::kF32) {
      std::memcpy(&values[i], raw.data() + 4 * i, 4);
      continue;
    }
    std::memcpy(&half, raw.data() + 2 * i, 2);
    values[i] = type == TensorType::kF16 ? FloatOfHalf(half)
                                         : std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
  }
  return values;
}

std::vector<uint8_t> As(TensorType to, TensorType from, std::vector<uint8_t> raw) {
  if (to == from) return raw;
  const std::vector<float> values = Floats(from, raw);
  std::vector<uint8_t> out(values.size() * Info(to).block_bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    if (to == TensorType::kF32) {
      std::memcpy(out.data() + 4 * i, &values[i], 4);
    } else {
      const uint16_t half = HalfOfFloat(values[i]);  // no family needs F32 -> BF16
      std::memcpy(out.data() + 2 * i, &half, 2);
    }
  }
  return out;
}

std::string Sha16(std::span<const uint8_t> bytes) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256(bytes.data(), bytes.size(), digest.data());
  std::string hex;
  for (int i = 0; i < 8; ++i) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", digest[static_cast<size_t>(i)]);
    hex += text;
  }
  return hex;
}

// A key as the golden files write it.
Json Summary(const Metadata::Entry& entry) {
  Json value;
  std::visit(
      [&]<typename T>(const T& v) {
        if constexpr (std::is_same_v<T, float>) {
          value = static_cast<double>(v);
        } else if constexpr (!std::is_same_v<T, Array>) {
          value = v;
        }
      },
      entry.second);
  return Json::array({entry.first, ValueTypeName(TypeOf(entry.second)), value});
}

class SlowGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto folder = testing::FamilyFolder(GetParam());
    if (!folder) GTEST_SKIP() << "no shared/conformance, or no Python with numpy";
    const auto golden = testing::Shared("conformance/golden/" + GetParam() + ".json");
    if (!golden) GTEST_SKIP() << "no golden file";
    golden_ = ReadJsonFile(*golden);
    source_ = formats::OpenModel(*folder);
  }

  Json golden_;
  std::unique_ptr<ModelSource> source_;
};

TEST_P(SlowGolden, KeysEqual) {
  const OutputModel model = ConvertModel(*source_, {}).model;
  Json expected = Json::array(), actual = Json::array();
  const bool quirk = GetParam() == "pythia";  // llama.cpp forgets general.file_type there
  for (const auto& key : golden_["kv"]) {
    const std::string name = key[0];
    if (!name.starts_with("tokenizer.") && name != "general.file_type") expected.push_back(key);
    if (name == "general.file_type" || quirk) {
      EXPECT_TRUE(model.metadata.Has("general.file_type"));
    }
  }
  for (const auto& entry : model.metadata.entries()) {
    if (entry.first.starts_with("tokenizer.") || entry.first == "general.file_type") continue;
    actual.push_back(Summary(entry));
  }
  EXPECT_EQ(actual.dump(1), expected.dump(1));
}

TEST_P(SlowGolden, TensorsEqualInNameTypeShapeOrderAndBytes) {
  const OutputModel model = ConvertModel(*source_, {}).model;
  ASSERT_EQ(model.tensors.size(), golden_["tensors"].size());
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const auto& tensor = model.tensors[i];
    const Json& golden = golden_["tensors"][i];
    ASSERT_EQ(tensor.name, golden[0].get<std::string>());
    const TensorType type = tensor.keep_f32 ? TensorType::kF32 : model.auto_type.value();
    EXPECT_EQ(Name(type), golden[1].get<std::string>()) << tensor.name;
    EXPECT_EQ(Shape(tensor.value.shape.rbegin(), tensor.value.shape.rend()), golden[2].get<Shape>())
        << tensor.name;
    std::vector<uint8_t> raw(TensorBytes(tensor.value.type, tensor.value.shape).value());
    const uint64_t rows = tensor.value.rows(), step = rows / 3 + 1;
    const uint64_t row_bytes = raw.size() / rows;
    for (uint64_t row = 0; row < rows; row += step) {
      const uint64_t n = std::min(step, rows - row);
      EvaluateRows(*source_, tensor.value, row, n,
                   std::span(raw).subspan(row * row_bytes, n * row_bytes));
    }
    EXPECT_EQ(Sha16(As(type, tensor.value.type, std::move(raw))), golden[3].get<std::string>())
        << tensor.name << " = " << Describe(tensor.value);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SlowGolden, ::testing::ValuesIn(testing::FamilyNames()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace quern::converters
