// The grids of the IQ1, IQ2 and IQ3 types: the few hundred points, among all combinations of levels
// of 4 or 8 neighbouring weights, that these types can store.
//
// A point is a code: level k of the point, one per weight, in bits bits*k... What a level is worth
// is the type's affair (iquant_blocks.h); the searches count with 2*level + 1. The numbers are
// ggml's (src/ggml-quants.c and src/ggml-common.h, v0.5.0), where they came from training.
//
// Contract: GridOf is thread-safe and builds a grid on first use (the largest takes some 50 ms).
// Non-goals: which grid point is best for some weights (iquant_ref.h).
#ifndef QUERN_QUANT_IQUANT_GRIDS_H_
#define QUERN_QUANT_IQUANT_GRIDS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quern::quant {

enum class GridId : uint8_t { kIQ2XXS, kIQ2XS, kIQ2S, kIQ1, kIQ3XXS, kIQ3S };

// The stored numbers of a grid.
struct GridCodes {
  std::span<const uint16_t> codes;  // of the points, ascending
  int dimension;                    // weights per point: 4 or 8
  int bits;                         // of a level: 3 (levels 0..7) or 2 (levels 0..2)
  int shells;                       // distances that count as near
  bool contenders;                  // are of use to the search
};
const GridCodes& CodesOf(GridId id);

inline constexpr size_t kNearRun = 8;
inline constexpr size_t kContenderRun = 4;
inline constexpr int kContenderReach = 2;

// A grid as searches need it.
class Grid {
 public:
  explicit Grid(const GridCodes& data);

  const GridCodes& data() const { return data_; }
  size_t size() const { return data_.codes.size(); }
  uint16_t code(size_t index) const { return data_.codes[index]; }

  // Index of the point with this code, or -1.
  int Find(uint32_t code) const { return point_[code]; }

  // Near points in their order, without those that another one precedes whose levels all lie
  // between theirs and the code's. These are never better, as long as no level of the code costs
  // more than those beside it: which rounding sees to, but for errors in the last bit. About half
  // is left of IQ3's, a quarter of IQ2_XS's and all of IQ2_S's.
  //
  // A list is one number for their count, a multiple of kContenderRun, and then the points; the
  // last is repeated. The count is 0 where a level is more than kContenderReach from the code's.
  // Lists are told by where they begin, 0 for codes on the grid.
  uint32_t ContendersAt(uint32_t code) const { return contenders_at_[code]; }
  const uint16_t* Contenders(uint32_t at) const { return contenders_.data() + at; }

  // For a code off the grid, whose levels are all in range: the codes of the points near it, by
  // distance and then index; those at the `shells` least distances. The last one is repeated until
  // their number is a multiple of kNearRun, for vectors.
  std::span<const uint16_t> Near(uint32_t code) const {
    return {near_.data() + first_near_[code], near_.data() + first_near_[code] + near_count_[code]};
  }

 private:
  void FindNear();
  void FindContenders();
  void AddContenders(uint32_t code);

  GridCodes data_;
  std::vector<int16_t> point_;
  std::vector<uint32_t> first_near_;
  std::vector<uint16_t> near_count_;
  std::vector<uint16_t> near_;
  std::vector<uint32_t> contenders_at_;
  std::vector<uint16_t> contenders_;
};

const Grid& GridOf(GridId id);

}  // namespace quern::quant

#endif  // QUERN_QUANT_IQUANT_GRIDS_H_
