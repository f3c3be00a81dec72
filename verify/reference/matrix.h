// Row-major matrices of f32 and their product, with the time that products take.
//
// Products go to OpenBLAS's sgemm, one thread per call, over tiles that depend on the shapes only:
// results do not depend on the number of threads, and OpenBLAS's own threads do not fight OpenMP's
// for the cores (both spin while they wait).
#ifndef QUERN_VERIFY_REFERENCE_MATRIX_H_
#define QUERN_VERIFY_REFERENCE_MATRIX_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace quern::verify {

// Owns rows x columns floats, not initialized.
class Matrix {
 public:
  Matrix() = default;
  Matrix(size_t rows, size_t columns)
      : rows_(rows),
        columns_(columns),
        data_(std::make_unique_for_overwrite<float[]>(rows * columns)) {}

  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  float* row(size_t i) { return data_.get() + i * columns_; }
  const float* row(size_t i) const { return data_.get() + i * columns_; }

 private:
  size_t rows_ = 0, columns_ = 0;
  std::unique_ptr<float[]> data_;
};

// Floats for the moment. Growing forgets them.
class Scratch {
 public:
  float* Fit(size_t floats) {
    if (floats > data_.rows()) {
      data_ = {};  // before the larger one is there
      data_ = Matrix(floats, 1);
    }
    return data_.data();
  }

 private:
  Matrix data_;
};

// Where matrix products are computed and counted, with the memory for one slab of weights. One per
// run, shared by all models of the run; but for the slab thread-safe.
class Products {
 public:
  explicit Products(int threads);

  int threads() const { return threads_; }
  // Threads among which so many multiplications are worth sharing.
  int ThreadsFor(uint64_t multiplications) const {
    return multiplications < kWorthSharing ? 1 : threads_;
  }
  // Seconds that threads spent in sgemm, summed over threads and divided by their number.
  double seconds() const { return nanoseconds_.load() * 1e-9 / threads_; }

  // y[tokens, rows] = x[tokens, columns] * w[rows, columns]^T, in parallel. ldx, ldy: floats from
  // one row to the next.
  void Multiply(const float* x, size_t tokens, size_t ldx, const float* w, size_t rows,
                size_t columns, float* y, size_t ldy);

  // One call of sgemm on this thread, for the caller's own parallel loops:
  // c[m, n] = scale * a[m, k] * b, where b is [n, k] if `transposed`, else [k, n].
  void Gemm(bool transposed, size_t m, size_t n, size_t k, float scale, const float* a, size_t lda,
            const float* b, size_t ldb, float* c, size_t ldc);

  // The slab, of at least this many floats.
  float* Slab(size_t floats) { return slab_.Fit(floats); }

 private:
  // About 50 microseconds of one core, several times what waking another one takes.
  static constexpr uint64_t kWorthSharing = uint64_t{1} << 20;

  int threads_;
  Scratch slab_;
  std::atomic<int64_t> nanoseconds_ = 0;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_MATRIX_H_
