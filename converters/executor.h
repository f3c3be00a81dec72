// Runs plans: streams slabs of rows from the source into one or several output files.
//
// source rows -> transform -> f32 -> (precision of the intermediate) -> blocks -> pwrite at the
// planned offset. Each thread takes the next slab, so that one reads or writes while another
// computes, and the system reads ahead and writes back meanwhile. Memory is O(slab x threads).
// The bytes do not depend on the number of threads or on the size of the slabs.
#ifndef QUERN_CONVERTERS_EXECUTOR_H_
#define QUERN_CONVERTERS_EXECUTOR_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "converters/error_report.h"
#include "converters/output_model.h"
#include "converters/plan.h"
#include "formats/core/output_file.h"

namespace quern::converters {

// One plan and where its output goes (FilePath() in plan.h). All jobs of a run are plans of the
// same OutputModel.
struct Job {
  const WritePlan* plan;
  std::filesystem::path path;
};

struct Progress {
  uint64_t done = 0;  // weights
  uint64_t total = 0;
  std::string_view tensor;  // of the slab that was finished last
};

struct ExecuteOptions {
  int threads = 0;      // 0: as many as OpenMP would use
  uint64_t memory = 0;  // bytes for all slabs; 0: kDefaultSlabMemory
  OutputOptions output;
  // Go on where a weight is not finite; `note` says at the end how many tensors had such.
  bool allow_nonfinite = false;
  std::function<void(const std::string&)> note;   // what the user should know of this run
  std::function<void(const Progress&)> progress;  // called by one thread at a time
  // Called with each complete FILE.partial, `file` of the job's plan, before any gets its final
  // name; may throw.
  std::function<void(const Job&, size_t file, const std::filesystem::path& partial)> check;
  ErrorReport* errors = nullptr;  // of the jobs' plans, in their order; null: nothing is measured
};

inline constexpr uint64_t kDefaultSlabMemory = uint64_t{64} << 20;

// Bytes that Execute would use for slabs and headers, beside what the source itself holds.
uint64_t ExecuteMemory(const OutputModel& model, std::span<const Job> jobs,
                       const ExecuteOptions& options);

// Reads each tensor of the source once, whatever the number of jobs. Files appear under their names
// only when all bytes of all jobs are on disk. With output.resume, what an earlier run has left and
// what proves whole is kept (outputs.h), and a failing run leaves its partial files for the next.
// Unless allowed, throws kNonFinite for NaN or infinity among weights that are to be quantized or
// that do not fit the intermediate precision, and whatever reading and writing throw; then no
// output exists.
void Execute(const ModelSource& source, const OutputModel& model, std::span<const Job> jobs,
             const ExecuteOptions& options);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_EXECUTOR_H_
