#include "formats/core/strided_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace quern {
namespace {

// The definition: one element after the other.
std::vector<uint8_t> RowMajor(const StridedView& view, const std::vector<uint8_t>& storage) {
  uint64_t count = 1;
  for (const uint64_t extent : view.shape) count *= extent;
  std::vector<uint8_t> out;
  for (uint64_t e = 0; e < count; ++e) {
    uint64_t at = view.offset, rest = e;
    for (size_t d = view.shape.size(); d-- > 0; rest /= view.shape[d]) {
      at += rest % view.shape[d] * view.strides[d];
    }
    for (uint32_t b = 0; b < view.element_bytes; ++b) {
      const uint32_t byte = view.swap_bytes ? view.element_bytes - 1 - b : b;
      out.push_back(storage[at * view.element_bytes + byte]);
    }
  }
  return out;
}

std::vector<uint8_t> RandomBytes(size_t count, std::mt19937& random) {
  std::vector<uint8_t> bytes(count);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

StorageRead Reader(const std::vector<uint8_t>& storage) {
  return [&storage](uint64_t at, std::span<uint8_t> out) {
    ASSERT_LE(at + out.size(), storage.size());
    std::copy_n(storage.begin() + static_cast<ptrdiff_t>(at), out.size(), out.begin());
  };
}

TEST(StridedView, AnyRangeOfAnyViewEqualsTheDefinition) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    StridedView view;
    view.element_bytes = 1u << random() % 4;
    view.swap_bytes = random() % 2;
    view.offset = random() % 5;
    uint64_t last = view.offset;
    for (uint64_t d = random() % 5; d > 0; --d) {
      view.shape.push_back(1 + random() % 6);
      view.strides.push_back(random() % 40);
      last += (view.shape.back() - 1) * view.strides.back();
    }
    const auto storage = RandomBytes((last + 1) * view.element_bytes, random);
    const auto expected = RowMajor(view, storage);
    const StridedView coalesced = view.Coalesced();
    for (int part = 0; part < 8; ++part) {
      const size_t begin = part == 0 ? 0 : random() % expected.size();
      const size_t length = part == 0 ? expected.size() : random() % (expected.size() - begin + 1);
      std::vector<uint8_t> out(length);
      ReadView(coalesced, begin, out, Reader(storage));
      ASSERT_TRUE(
          std::equal(out.begin(), out.end(), expected.begin() + static_cast<ptrdiff_t>(begin)))
          << round;
    }
  }
}

TEST(StridedView, ReadsATransposedMatrixWithFewAndSmallReads) {
  // 3000 x 1000, stored column by column: a slab of 100 rows needs 100 elements of each column.
  StridedView view{.shape = {3000, 1000}, .strides = {1, 3000}, .element_bytes = 4};
  std::mt19937 random(1);
  const auto storage = RandomBytes(3000 * 1000 * 4, random);
  uint64_t reads = 0, bytes = 0;
  std::vector<uint8_t> out(100 * 1000 * 4);
  ReadView(view.Coalesced(), 200 * 1000 * 4, out, [&](uint64_t at, std::span<uint8_t> part) {
    ++reads;
    bytes += part.size();
    EXPECT_LE(part.size(), 256u << 10);
    std::memcpy(part.data(), storage.data() + at, part.size());
  });
  const auto expected = RowMajor(view, storage);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.begin() + 200 * 1000 * 4));
  EXPECT_LE(reads, 1000u);
  EXPECT_LE(bytes, 2 * out.size());
}

TEST(StridedView, ContiguousViewsOfAnyFormAreOneRead) {
  for (const StridedView& view :
       {StridedView{.offset = 3, .shape = {2, 3, 4}, .strides = {12, 4, 1}},
        StridedView{.offset = 3, .shape = {2, 1, 12}, .strides = {12, 99, 1}},
        StridedView{.offset = 3, .shape = {1, 24}, .strides = {5, 1}}}) {
    EXPECT_TRUE(view.Coalesced().IsContiguous());
    int reads = 0;
    std::vector<uint8_t> out(24);
    ReadView(view.Coalesced(), 0, out, [&](uint64_t at, std::span<uint8_t> part) {
      ++reads;
      EXPECT_EQ(at, 3u);
      EXPECT_EQ(part.size(), 24u);
    });
    EXPECT_EQ(reads, 1);
  }
}

}  // namespace
}  // namespace quern
