// Which points of a grid are near a code: computed, since it follows from the grid.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "quant/iquant_grids.h"

namespace quern::quant {
namespace {

constexpr size_t kMaxDistance = 4 * 7 * 7;  // four weights, levels 0 and 7

// Sum of squared differences of the levels of two halves of a code.
class HalfDistances {
 public:
  HalfDistances(int half_levels, int bits)
      : half_bits_(half_levels * bits), table_(size_t{1} << (2 * half_bits_)) {
    const int mask = (1 << bits) - 1;
    for (size_t pair = 0; pair < table_.size(); ++pair) {
      int sum = 0;
      for (int k = 0; k < half_levels; ++k) {
        const int a = static_cast<int>(pair >> (bits * k)) & mask;
        const int b = static_cast<int>(pair >> (half_bits_ + bits * k)) & mask;
        sum += (a - b) * (a - b);
      }
      table_[pair] = static_cast<uint8_t>(sum);
    }
  }

  size_t operator()(uint32_t a, uint32_t b) const {
    const uint32_t mask = (1u << half_bits_) - 1;
    return size_t{table_[(a & mask) << half_bits_ | (b & mask)]} +
           table_[(a >> half_bits_) << half_bits_ | (b >> half_bits_)];
  }

 private:
  int half_bits_;
  std::vector<uint8_t> table_;
};

bool LevelsInRange(uint32_t code, const GridCodes& data) {
  if (data.bits == 3) return true;
  return (code & (code >> 1) & 0x5555u) == 0;  // no level 3
}

int LevelOf(uint32_t code, int k, const GridCodes& data) {
  return static_cast<int>(code >> (data.bits * k)) & ((1 << data.bits) - 1);
}

// Whether all levels of `between` are between those of a and b, ends included.
bool LiesBetween(uint32_t between, uint32_t a, uint32_t b, const GridCodes& data) {
  for (int k = 0; k < data.dimension; ++k) {
    const auto [least, most] = std::minmax({LevelOf(a, k, data), LevelOf(b, k, data)});
    const int level = LevelOf(between, k, data);
    if (level < least || level > most) return false;
  }
  return true;
}

}  // namespace

Grid::Grid(const GridCodes& data) : data_(data) {
  const size_t codes = size_t{1} << (data.dimension * data.bits);
  point_.assign(codes, -1);
  for (size_t i = 0; i < data.codes.size(); ++i) point_[data.codes[i]] = static_cast<int16_t>(i);
  first_near_.assign(codes, 0);
  near_count_.assign(codes, 0);
  FindNear();
  if (data_.contenders) FindContenders();
}

void Grid::FindNear() {
  const HalfDistances distance(data_.dimension / 2, data_.bits);
  std::vector<uint8_t> to_point(size());
  for (uint32_t code = 0; code < point_.size(); ++code) {
    if (point_[code] >= 0 || !LevelsInRange(code, data_)) continue;
    std::array<uint32_t, kMaxDistance + 1> at_distance{};
    for (size_t i = 0; i < size(); ++i) {
      const size_t d = distance(code, data_.codes[i]);
      to_point[i] = static_cast<uint8_t>(d);
      ++at_distance[d];
    }
    first_near_[code] = static_cast<uint32_t>(near_.size());
    int shells = 0;
    for (size_t d = 0; shells < data_.shells && d <= kMaxDistance; ++d) {
      if (at_distance[d] == 0) continue;
      ++shells;
      for (size_t i = 0; i < size(); ++i) {
        if (to_point[i] == d) near_.push_back(data_.codes[i]);
      }
    }
    near_count_[code] = static_cast<uint16_t>(near_.size() - first_near_[code]);
    near_.resize((near_.size() + kNearRun - 1) / kNearRun * kNearRun, near_.back());
  }
}

void Grid::FindContenders() {
  contenders_at_.assign(point_.size(), 0);
  contenders_.push_back(0);
  for (uint32_t code = 0; code < point_.size(); ++code) {
    if (near_count_[code] != 0) AddContenders(code);
  }
}

void Grid::AddContenders(uint32_t code) {
  const size_t at = contenders_.size();
  contenders_at_[code] = static_cast<uint32_t>(at);
  contenders_.push_back(0);
  bool in_reach = true;
  for (const uint16_t point : Near(code)) {
    const auto beats = [&](uint16_t other) { return LiesBetween(other, code, point, data_); };
    if (std::any_of(contenders_.begin() + static_cast<ptrdiff_t>(at) + 1, contenders_.end(),
                    beats)) {
      continue;
    }
    contenders_.push_back(point);
    for (int k = 0; k < data_.dimension; ++k) {
      const int distance = LevelOf(point, k, data_) - LevelOf(code, k, data_);
      in_reach = in_reach && std::abs(distance) <= kContenderReach;
    }
  }
  while ((contenders_.size() - at) % kContenderRun != 1) contenders_.push_back(contenders_.back());
  if (in_reach) contenders_[at] = static_cast<uint16_t>(contenders_.size() - at - 1);
}

const Grid& GridOf(GridId id) {
  switch (id) {
#define QUERN_GRID(name)                                    \
  case GridId::name: {                                      \
    static const Grid* const kGrid = new Grid(CodesOf(id)); \
    return *kGrid;                                          \
  }
    QUERN_GRID(kIQ2XXS)
    QUERN_GRID(kIQ2XS)
    QUERN_GRID(kIQ2S)
    QUERN_GRID(kIQ1)
    QUERN_GRID(kIQ3XXS)
    QUERN_GRID(kIQ3S)
#undef QUERN_GRID
  }
  __builtin_unreachable();
}

}  // namespace quern::quant
