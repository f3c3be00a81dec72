// How far decoded weights are from the original ones: sums that can be kept per row and added up.
//
// Sums are doubles, taken in an order that depends on the row alone (weight i of a block goes to
// lane i % 8, lanes are added as a fixed tree), so that every instruction set gives the same bits.
// Whoever adds rows up in order gets results that depend on neither threads nor slabs.
// Non-goals: files, tensors, printing.
#ifndef QUERN_QUANT_ERROR_STATISTICS_H_
#define QUERN_QUANT_ERROR_STATISTICS_H_

#include <cstdint>
#include <span>

#include "formats/core/tensor_type.h"

namespace quern::quant {

// The block with the largest mean square error; the first one of several.
struct WorstBlock {
  double mean_square = -1;  // negative: no block was measured
  uint64_t row = 0;
  uint64_t column = 0;  // its first
  uint64_t columns = 0;
};

// With x an original weight, y the decoded one and w the importance of its column.
struct ErrorStatistics {
  uint64_t count = 0;
  double squared_error = 0;             // of (x - y)
  double squared_weights = 0;           // of x
  double squared_decoded = 0;           // of y
  double weighted_squared_error = 0;    // w (x - y)^2; 0 without importance
  double weighted_squared_weights = 0;  // w x^2
  double largest_error = 0;             // |x - y|
  WorstBlock worst;

  // Appends what comes after: rows in order give one result, whoever measured them.
  void Add(const ErrorStatistics& next);

  double Rmse() const;          // 0 of nothing
  double RelativeRmse() const;  // error / weights; 0 where the weights are all zero
  double Cosine() const;        // between x and y; 1 where both are zero, 0 where one is
  // The imatrix-weighted relative error: what a matrix adds to its product with activations whose
  // mean squares are w, relative to that product, as far as columns are independent. 0 without w.
  double WeightedRelativeRmse() const;
};

// Weights that count as one block in WorstBlock: the type's block, or runs of 256 in a row for
// types that have none.
uint64_t ErrorBlock(TensorType type);

// One row: `decoded` has the size of `weights`; `importance` as well, or none. The last block may
// be shorter than `block`.
ErrorStatistics MeasureRow(std::span<const float> weights, std::span<const float> decoded,
                           std::span<const float> importance, uint64_t block, uint64_t row);

}  // namespace quern::quant

#endif  // QUERN_QUANT_ERROR_STATISTICS_H_
