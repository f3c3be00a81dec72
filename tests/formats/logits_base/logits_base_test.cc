#include "formats/logits_base/logits_base.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "tests/support/fixtures.h"

namespace quern::formats::logits_base {
namespace {

using quern::testing::Bytes;
using quern::testing::ErrorOf;
using quern::testing::TempFolder;

struct Row {
  float scale, minimum;
  std::vector<uint16_t> q;
};

Row Encode(const std::vector<float>& logits) {
  std::vector<uint8_t> bytes(Dimensions{.vocabulary = logits.size()}.row_bytes(), 0xee);
  EncodeRow(logits, bytes);
  Row row;
  std::memcpy(&row.scale, bytes.data(), 4);
  std::memcpy(&row.minimum, bytes.data() + 4, 4);
  row.q.resize((bytes.size() - 8) / 2);
  std::memcpy(row.q.data(), bytes.data() + 8, bytes.size() - 8);
  return row;
}

TEST(LogitsBaseRow, IsScaledBetweenTheTopTokenAndSixteenNatsBelow) {
  const Row row = Encode({0, -1, -20});
  EXPECT_EQ(row.scale, 16.0f / 65535);
  const float sum = std::log(1 + std::exp(-1.0f) + std::exp(-20.0f));
  EXPECT_FLOAT_EQ(row.minimum, -16 - sum);
  EXPECT_EQ(row.q, (std::vector<uint16_t>{65535, 61439, 0, 0}));  // 15 / 16 of 65535; padding
}

TEST(LogitsBaseRow, ReachesOnlyAsFarAsTheLogitsDo) {
  const Row row = Encode({3, 1, 2, 1.5f});
  EXPECT_EQ(row.scale, 2.0f / 65535);
  EXPECT_EQ(row.q, (std::vector<uint16_t>{65535, 0, 32768, 16384}));  // 32767.5 goes to the even
}

TEST(LogitsBaseRow, OfEqualLogitsHasNoScale) {
  const Row row = Encode({2.5f, 2.5f, 2.5f, 2.5f});
  EXPECT_EQ(row.scale, 0);
  EXPECT_EQ(row.minimum, -std::log(4.0f));
  EXPECT_EQ(row.q, (std::vector<uint16_t>{0, 0, 0, 0}));
}

// Two windows of 6 tokens, of which 2 positions each are scored, over a vocabulary of 5.
constexpr Dimensions kSmall{.context = 6, .vocabulary = 5, .windows = 2};
const std::vector<int32_t> kTokens = {1, 0, 2, 4, 3, 1, 0, 0, 1, 2, 4, 4};

std::vector<float> Logits(uint64_t position) {
  std::mt19937 random(static_cast<uint32_t>(position));
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(kSmall.vocabulary);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::filesystem::path WriteSmall(const TempFolder& folder) {
  const auto path = folder.path() / "base";
  LogitsBaseWriter writer(path, kSmall, kTokens, {});
  for (const uint64_t position : {3, 0, 2, 1}) writer.Write(position, Logits(position));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.Commit();
  return path;
}

std::vector<uint8_t> Contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(LogitsBase, HasLlamaPerplexitysLayout) {
  const TempFolder folder;
  Bytes expected;
  expected.Text("_logits_").Put(int32_t{6}).Put(int32_t{5}).Put(int32_t{2});
  for (const int32_t token : kTokens) expected.Put(token);
  for (uint64_t position = 0; position < 4; ++position) {
    const Row row = Encode(Logits(position));
    expected.Put(row.scale).Put(row.minimum);
    for (const uint16_t q : row.q) expected.Put(q);
  }
  EXPECT_EQ(Contents(WriteSmall(folder)), expected.data());
  EXPECT_EQ(kSmall.file_bytes(), expected.data().size());
}

TEST(LogitsBase, ReadsBackWhatWasWrittenToHalfAStep) {
  const TempFolder folder;
  const LogitsBaseReader reader(WriteSmall(folder));
  EXPECT_EQ(reader.tokens(), kTokens);
  EXPECT_EQ(reader.dimensions().windows, 2u);
  for (uint64_t position = 0; position < 4; ++position) {
    const auto logits = Logits(position);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    std::vector<float> values(5);
    reader.Read(position, values);
    for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(values[i], logits[i] - std::log(sum), 1.3e-4);
  }
}

TEST(LogitsBase, IsNotWrittenOverAnotherFile) {
  const TempFolder folder;
  const auto path = WriteSmall(folder);
  EXPECT_QUERN_ERROR(LogitsBaseWriter(path, kSmall, kTokens, {}), ErrorCode::kExists);
  LogitsBaseWriter(path, kSmall, kTokens, {.force = true});
  EXPECT_EQ(Contents(path).size(), kSmall.file_bytes());  // never committed
  Dimensions huge = kSmall;
  huge.vocabulary = uint64_t{1} << 31;
  EXPECT_QUERN_ERROR(LogitsBaseWriter(folder.path() / "huge", huge, kTokens, {}),
                     ErrorCode::kUsage);
}

class DamagedLogitsBase : public ::testing::Test {
 protected:
  DamagedLogitsBase() : bytes_(Contents(WriteSmall(folder_))) {}

  template <typename T>
  void Put(size_t offset, T value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof(value));
  }
  // Of opening the file and reading all of it.
  ErrorCode Code() {
    return ErrorOf([&] {
             const LogitsBaseReader reader(folder_.Write("damaged", bytes_));
             std::vector<float> row(reader.dimensions().vocabulary);
             for (uint64_t i = 0; i < reader.dimensions().positions(); ++i) reader.Read(i, row);
           })
        .code();
  }

  TempFolder folder_;
  std::vector<uint8_t> bytes_;
};

TEST_F(DamagedLogitsBase, OfAnotherKindIsRefused) {
  bytes_[0] = 'x';
  EXPECT_EQ(Code(), ErrorCode::kBadMagic);
  bytes_.resize(3);
  EXPECT_EQ(Code(), ErrorCode::kBadMagic);
}

TEST_F(DamagedLogitsBase, OfAnotherLengthIsRefused) {
  const auto whole = bytes_;
  for (size_t size = 8; size < whole.size(); ++size) {
    bytes_.assign(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(Code(), ErrorCode::kTruncated) << size;
  }
  bytes_ = whole;
  bytes_.push_back(0);
  EXPECT_EQ(Code(), ErrorCode::kUnusedBytes);
}

TEST_F(DamagedLogitsBase, WithImpossibleSizesIsRefused) {
  const auto whole = bytes_;
  const auto expect = [&](size_t offset, int32_t value, ErrorCode code) {
    bytes_ = whole;
    Put(offset, value);
    EXPECT_EQ(Code(), code) << offset << ": " << value;
  };
  constexpr int32_t kLargest = std::numeric_limits<int32_t>::max();
  for (const size_t offset : {8, 12, 16}) {
    expect(offset, 0, ErrorCode::kBadValue);
    expect(offset, -1, ErrorCode::kBadValue);
  }
  expect(8, 2, ErrorCode::kBadValue);  // nothing to score
  expect(8, kLargest, ErrorCode::kLimitExceeded);
  expect(12, kLargest, ErrorCode::kTruncated);
  expect(16, kLargest, ErrorCode::kTruncated);
  bytes_ = whole;
  Put(8, int32_t{1} << 20);
  Put(12, kLargest);
  Put(16, kLargest);  // 2^81 bytes
  EXPECT_EQ(Code(), ErrorCode::kTruncated);
}

TEST_F(DamagedLogitsBase, WithForeignTokensOrProbabilitiesIsRefused) {
  const auto whole = bytes_;
  const auto expect = [&](size_t offset, auto value) {
    bytes_ = whole;
    Put(offset, value);
    EXPECT_EQ(Code(), ErrorCode::kBadValue) << offset << ": " << value;
  };
  expect(20, int32_t{5});
  expect(24, int32_t{-1});
  const size_t row = 20 + 12 * 4;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float scale : {kNan, kInfinity, -1e-4f, 1.0f}) expect(row, scale);
  for (const float minimum : {kNan, kInfinity, -kInfinity, 1.0f}) expect(row + 4, minimum);
}

}  // namespace
}  // namespace quern::formats::logits_base
