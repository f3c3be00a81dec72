// One slab of rows, decoded once and encoded for every file that wants it in another type.
//
// Goes through the slab in tiles whose f32 form stays in the cache: source bytes -> f32 -> the
// precision of the intermediate (PlannedTensor::via) -> blocks, for one target after another. One
// object per thread. Non-goals: reading, writing (executor.h).
#ifndef QUERN_CONVERTERS_SLAB_ENCODER_H_
#define QUERN_CONVERTERS_SLAB_ENCODER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "converters/error_report.h"
#include "converters/output_model.h"
#include "converters/plan.h"

namespace quern::converters {

// What a slab becomes in one file.
struct Encoding {
  const PlannedTensor* planned = nullptr;
  std::vector<uint8_t> blocks;  // of the slab's rows
  SlabErrors errors;
};

class SlabEncoder {
 public:
  // Called where a weight is or becomes NaN or infinite, with a message; may throw.
  using NonFinite = std::function<void(const std::string&)>;

  explicit SlabEncoder(bool measure) : measure_(measure) {}

  // Fills `blocks` of each encoding, and `errors` where the encoder measures, from rows
  // [first, first + rows) of the tensor, which are in `source`.
  void Encode(const OutputTensor& tensor, uint64_t first, uint64_t rows,
              std::span<const uint8_t> source, std::span<Encoding> encodings,
              const NonFinite& non_finite);

  // Bytes that an object takes beside the encodings.
  static uint64_t ScratchBytes();

 private:
  struct Tile {
    std::span<const float> weights;
    uint64_t columns;
    uint64_t first;   // weight of the tensor
    uint64_t matrix;  // of a stack
    uint64_t row;     // of the slab
  };
  void EncodeTile(const OutputTensor& tensor, const Tile& tile, Encoding& encoding,
                  const NonFinite& non_finite);
  // The tile's weights in the precision of an intermediate file; kept for the next target.
  std::span<const float> Rounded(const Tile& tile, TensorType via, const NonFinite& non_finite);

  bool measure_;
  std::vector<float> weights_, rounded_;
  std::vector<uint8_t> half_;
  std::optional<TensorType> via_;  // of rounded_
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_SLAB_ENCODER_H_
