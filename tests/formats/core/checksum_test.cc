#include "formats/core/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <span>
#include <vector>

namespace quern {
namespace {

std::vector<uint8_t> RandomBytes(size_t count) {
  std::mt19937 random(1);
  std::vector<uint8_t> bytes(count);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(Checksum, DoesNotDependOnHowTheBytesAreCut) {
  const std::vector<uint8_t> bytes = RandomBytes(1000);
  const uint64_t whole = ChecksumOf(bytes);
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    Checksum checksum;
    for (std::span<const uint8_t> rest = bytes; !rest.empty();) {
      const size_t piece = std::min<size_t>(random() % 200, rest.size());
      checksum.Update(rest.first(piece));
      rest = rest.subspan(piece);
    }
    EXPECT_EQ(checksum.Value(), whole);
  }
}

TEST(Checksum, TellsEveryChangedBitAndEveryLength) {
  std::vector<uint8_t> bytes = RandomBytes(200);
  std::set<uint64_t> seen = {ChecksumOf(bytes)};
  size_t count = 1;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit, ++count) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    seen.insert(ChecksumOf(bytes));
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  const std::vector<uint8_t> zeros(300);
  for (size_t size = 0; size <= zeros.size(); ++size, ++count) {
    seen.insert(ChecksumOf(std::span(zeros).first(size)));
  }
  EXPECT_EQ(seen.size(), count);
}

}  // namespace
}  // namespace quern
