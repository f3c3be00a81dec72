// A parallel loop that carries exceptions out: of several errors the one of the lowest index is
// thrown, whatever the threads' timing.
#ifndef QUERN_CONVERTERS_PARALLEL_H_
#define QUERN_CONVERTERS_PARALLEL_H_

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace quern::converters {

// Calls body(i, scratch) for i in [0, count), each thread with a Scratch of its own. `threads` 0:
// as many as OpenMP would use. After an error, higher indices may be left out.
template <typename Scratch, typename Body>
void ForEachInParallel(int64_t count, int threads, const Body& body) {
  std::atomic<int64_t> failed{count};
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel num_threads(threads > 0 ? threads : omp_get_max_threads())
  {
    Scratch scratch;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < count; ++i) {
      if (failed.load(std::memory_order_relaxed) < i) continue;
      try {  // an exception must not leave the parallel region
        body(i, scratch);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed.load()) {
          failed.store(i);
          error = std::current_exception();
        }
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_PARALLEL_H_
