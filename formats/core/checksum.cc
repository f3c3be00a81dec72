#include "formats/core/checksum.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace quern {
namespace {

// Odd, hence invertible modulo 2^64: the fractional parts of the golden ratio and of sqrt(3).
constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
constexpr uint64_t kSecondMultiplier = 0xbb67ae8584caa73b;
constexpr uint64_t kStart = 0x6a09e667f3bcc909;

// Two multiplications: with one, a change of a word's highest bit would leave a change of a single
// bit, which a change of that bit in the lane's next word takes back.
uint64_t Step(uint64_t lane, uint64_t word) {
  return std::rotl(lane + word * kMultiplier, 31) * kSecondMultiplier;
}

uint64_t LoadWord(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

}  // namespace

Checksum::Checksum() {
  for (size_t i = 0; i < kLanes; ++i) lanes_[i] = kStart + i * kMultiplier;
}

void Checksum::Mix(Lanes& lanes, const uint8_t* stripes, size_t count) {
  Lanes local = lanes;  // in registers
  for (; count > 0; --count, stripes += kStripe) {
    for (size_t i = 0; i < kLanes; ++i) {
      local[i] = Step(local[i], LoadWord(stripes + i * sizeof(uint64_t)));
    }
  }
  lanes = local;
}

void Checksum::Update(std::span<const uint8_t> bytes) {
  const size_t held = bytes_ % kStripe;
  bytes_ += bytes.size();
  if (held > 0) {
    const size_t taken = std::min(bytes.size(), kStripe - held);
    std::copy_n(bytes.begin(), taken, rest_.begin() + held);
    bytes = bytes.subspan(taken);
    if (held + taken < kStripe) return;
    Mix(lanes_, rest_.data(), 1);
    rest_.fill(0);
  }
  const size_t stripes = bytes.size() / kStripe;
  Mix(lanes_, bytes.data(), stripes);
  const auto tail = bytes.subspan(stripes * kStripe);
  std::copy(tail.begin(), tail.end(), rest_.begin());
}

uint64_t Checksum::Value() const {
  Lanes lanes = lanes_;
  if (bytes_ % kStripe > 0) Mix(lanes, rest_.data(), 1);
  uint64_t value = kStart ^ bytes_;
  for (const uint64_t lane : lanes) {
    value = Step(value, lane);
    value ^= value >> 32;
  }
  value *= kMultiplier;
  return value ^ (value >> 29);
}

uint64_t ChecksumOf(std::span<const uint8_t> bytes) {
  Checksum checksum;
  checksum.Update(bytes);
  return checksum.Value();
}

}  // namespace quern
