// A parallel loop that may throw: OpenMP aborts the program where an exception leaves its region.
#ifndef QUERN_VERIFY_REFERENCE_PARALLEL_H_
#define QUERN_VERIFY_REFERENCE_PARALLEL_H_

#include <cstddef>
#include <exception>
#include <limits>

namespace quern::verify {

// Calls body(i) for each i in [0, count), dynamically shared among `threads`. After an exception
// the rest is skipped as far as it has not begun, and the exception of the lowest i is thrown.
template <typename Body>
void ParallelFor(int threads, size_t count, const Body& body) {
  std::exception_ptr failure;
  size_t failed = std::numeric_limits<size_t>::max();
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (count > 1 && threads > 1)
  for (size_t i = 0; i < count; ++i) {
    size_t failed_now;
#pragma omp atomic read
    failed_now = failed;
    if (failed_now < i) continue;
    try {
      body(i);
    } catch (...) {
#pragma omp critical(quern_parallel_for)
      if (i < failed) {
#pragma omp atomic write
        failed = i;
        failure = std::current_exception();
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// As above for ranges [first, last) of at most `grain` items.
template <typename Body>
void ParallelRanges(int threads, size_t count, size_t grain, const Body& body) {
  const size_t ranges = (count + grain - 1) / grain;
  ParallelFor(threads, ranges, [&](size_t range) {
    const size_t first = range * grain;
    body(first, first + grain < count ? first + grain : count);
  });
}

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_PARALLEL_H_
