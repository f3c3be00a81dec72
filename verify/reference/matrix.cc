#include "verify/reference/matrix.h"

#include <cblas.h>

#include <algorithm>
#include <chrono>

#include "verify/reference/parallel.h"

namespace quern::verify {
namespace {

// sgemm packs both operands once per call. Packing an element costs about as much as 10 products
// with it, so that sides of 1024 keep packing near 2 %; smaller tiles only where there would be too
// few of them to share evenly.
constexpr size_t kTileSide = 1024;
constexpr size_t kMinTileSide = 128;
constexpr size_t kMinTiles = 4;

size_t Pieces(size_t count, size_t piece) { return (count + piece - 1) / piece; }

}  // namespace

Products::Products(int threads) : threads_(threads) { openblas_set_num_threads(1); }

void Products::Gemm(bool transposed, size_t m, size_t n, size_t k, float scale, const float* a,
                    size_t lda, const float* b, size_t ldb, float* c, size_t ldc) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto dim = [](size_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, dim(m), dim(n),
              dim(k), scale, a, dim(lda), b, dim(ldb), 0, c, dim(ldc));
  nanoseconds_ += std::chrono::nanoseconds(Clock::now() - start).count();
}

void Products::Multiply(const float* x, size_t tokens, size_t ldx, const float* w, size_t rows,
                        size_t columns, float* y, size_t ldy) {
  size_t tall = std::min(tokens, kTileSide);
  size_t wide = std::min(rows, kTileSide);
  while (Pieces(tokens, tall) * Pieces(rows, wide) < kMinTiles &&
         std::max(tall, wide) >= 2 * kMinTileSide) {
    size_t& side = tall > wide ? tall : wide;
    side = Pieces(side, 2);
  }
  // Equal tiles, so that the last ones are not slivers.
  tall = Pieces(tokens, Pieces(tokens, tall));
  wide = Pieces(rows, Pieces(rows, wide));
  const size_t across = Pieces(rows, wide);
  const int threads = ThreadsFor(uint64_t{tokens} * rows * columns);
  ParallelFor(threads, Pieces(tokens, tall) * across, [&](size_t tile) {
    const size_t token = tile / across * tall;
    const size_t row = tile % across * wide;
    Gemm(true, std::min(tall, tokens - token), std::min(wide, rows - row), columns, 1,
         x + token * ldx, ldx, w + row * columns, columns, y + token * ldy + row, ldy);
  });
}

}  // namespace quern::verify
