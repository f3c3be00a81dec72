// A model's tensors as f32, read and decoded by ranges of rows when they are needed.
#ifndef QUERN_VERIFY_REFERENCE_WEIGHTS_H_
#define QUERN_VERIFY_REFERENCE_WEIGHTS_H_

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "converters/output_model.h"
#include "formats/core/model.h"
#include "verify/reference/matrix.h"

namespace quern::verify {

// Rows [first, first + rows) of a matrix: a projection that maps `columns` inputs to `rows`
// outputs, with an optional bias of which the same rows count. A joined q, k, v is three of them
// over one tensor, an expert one of a stack.
struct Linear {
  const converters::OutputTensor* weight = nullptr;  // null: absent
  const converters::OutputTensor* bias = nullptr;
  uint64_t first = 0, rows = 0, columns = 0;

  explicit operator bool() const { return weight != nullptr; }
};

// Sees what enters the matrix products of a model that runs (Forward::set_observer).
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  // Before x[tokens, linear.columns], rows `ldx` floats apart, is multiplied with `linear`; called
  // from the thread that runs the model. An expert is shown the tokens that are routed to it.
  virtual void OnInput(const Linear& linear, const float* x, size_t tokens, size_t ldx) = 0;
};

// Reads weights of one model. Errors: kNonFinite for NaN and infinity, kUnsupported for a type that
// cannot be decoded, and what reading throws; each names the tensor.
class Weights {
 public:
  // At most `slab_bytes` of f32 weights are decoded at a time, but at least one row (or head, where
  // rows come only so). The source outlives this object.
  Weights(const ModelSource& source, uint64_t slab_bytes, Products& products);

  // Rows [first, first + count) to out[count, columns], decoded in parallel.
  void Read(const converters::OutputTensor& tensor, uint64_t first, uint64_t count,
            float* out) const;
  // Row rows[i] to out + i * columns, for each i.
  void Gather(const converters::OutputTensor& tensor, std::span<const int32_t> rows,
              float* out) const;
  // All elements of a small tensor.
  std::vector<float> Vector(const converters::OutputTensor& tensor) const;

  // Most rows of `linear` that are decoded at a time.
  uint64_t SlabRows(const Linear& linear) const;

  // y[tokens, rows] = x[tokens, columns] * linear^T + bias, slab by slab.
  void Apply(const Linear& linear, const float* x, size_t tokens, size_t ldx, float* y, size_t ldy);
  // Reads rows [first, first + count) of `linear` and multiplies: y[tokens, count].
  void ApplySlab(const Linear& linear, uint64_t first, uint64_t count, const float* x,
                 size_t tokens, size_t ldx, float* y, size_t ldy);

  // Null: nobody looks. The observer outlives this object's use.
  void set_observer(InputObserver* observer) { observer_ = observer; }
  // Shows it what enters a product; Apply does so itself.
  void Show(const Linear& linear, const float* x, size_t tokens, size_t ldx) const {
    if (observer_) observer_->OnInput(linear, x, tokens, ldx);
  }
  // From now on decoded matrices stay in memory, as many of those that are applied as fit into
  // `bytes`. Results are the same bits.
  void Keep(uint64_t bytes) { keep_bytes_ = bytes; }

  // Hint that `linear` is needed soon.
  void WillNeed(const Linear& linear) const;

  Products& products() const { return products_; }

 private:
  // Rows of `linear` from `first` on, decoded: of the kept matrix, or a slab.
  const float* Rows(const Linear& linear, uint64_t first, uint64_t count);
  void AddBias(const Linear& linear, uint64_t first, uint64_t count, float* y, size_t tokens,
               size_t ldy) const;

  const ModelSource& source_;
  uint64_t slab_bytes_;
  Products& products_;
  InputObserver* observer_ = nullptr;
  std::map<std::pair<const converters::OutputTensor*, uint64_t>, Matrix> kept_;  // by Linear::first
  uint64_t keep_bytes_ = 0;                                                      // for more
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_WEIGHTS_H_
