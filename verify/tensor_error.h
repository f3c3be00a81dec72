// How far the values of one tensor are from those of another, read from any two models by slabs of
// rows.
//
// Values are compared as f32, as the codecs decode them. Rows are measured each by itself and added
// up in order, so figures depend on neither threads nor memory. Non-goals: which tensors belong
// together (model_diff.h).
#ifndef QUERN_VERIFY_TENSOR_ERROR_H_
#define QUERN_VERIFY_TENSOR_ERROR_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "converters/expression.h"
#include "formats/core/model.h"
#include "quant/error_statistics.h"

namespace quern::verify {

inline constexpr uint64_t kDefaultCompareMemory = uint64_t{64} << 20;

struct CompareOptions {
  int threads = 0;      // 0: as many as OpenMP would use
  uint64_t memory = 0;  // bytes for rows in flight, 0: kDefaultCompareMemory; at least a row fits
  // Called between pieces of work, by one thread at a time; may throw to end the run.
  std::function<void()> step;
};

// A tensor, or what an expression makes of several. Both outlive it.
struct Comparand {
  const ModelSource* source = nullptr;
  const converters::Expression* value = nullptr;
};

// Where two tensors differ.
struct WeightDifference {
  uint64_t row = 0, column = 0;
  float a = 0, b = 0;
};

struct NonFinite {
  uint64_t nan = 0, infinite = 0;
};

struct TensorError {
  // Of the weights that are finite in both; a's are the original ones.
  quant::ErrorStatistics errors;
  uint64_t block = 0;      // weights of a block, as the worst one is counted
  uint64_t columns = 0;    // weights of a row
  uint64_t weights = 0;    // all
  uint64_t different = 0;  // weights of different values; two NaN are equal, and so are 0 and -0
  std::optional<WeightDifference> first;    // of these
  std::optional<WeightDifference> largest;  // with the largest error; the first of several
  NonFinite a, b;
};

// Whether weights of this type can be decoded to f32.
bool HasValues(TensorType type);

// Whether two tensors of one type and shape have the same bytes. Stops at the first difference.
bool SameBytes(const Comparand& a, const Comparand& b, const CompareOptions& options);

// Of two tensors of one shape whose types have values. The worst block is counted in blocks of b's
// type, or of a's where only that is quantized.
TensorError MeasureTensorError(const Comparand& a, const Comparand& b,
                               const CompareOptions& options);

// SHA-256 of the weights as f32, whatever their type, or of the bytes where the type has no values.
// On the calling thread.
std::string HashValues(const Comparand& tensor, const CompareOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_TENSOR_ERROR_H_
