// The files that a run writes, and what an earlier run has left in them.
//
// Opens FILE.partial and its journal for every file of every job, takes finished slabs of rows, and
// in the end gives all files their names or none. A resumed run keeps a slab of the earlier one
// only if its bytes, read back, have the checksum that the journal promises; whatever else lies in
// a partial file is written again. Non-goals: reading and quantizing (executor.h).
#ifndef QUERN_CONVERTERS_OUTPUTS_H_
#define QUERN_CONVERTERS_OUTPUTS_H_

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "converters/executor.h"
#include "converters/journal.h"
#include "formats/core/output_file.h"

namespace quern::converters {

// One file of one job.
class Output {
 public:
  // `is_known`: the journal of another file has shown that this run is being resumed.
  Output(const ModelSource& source, const OutputModel& model, const Job& job, size_t file,
         const OutputOptions& options, bool is_known);

  const Job& job() const { return job_; }
  size_t file() const { return file_; }
  bool is_known() const { return is_known_; }
  // What an earlier run of this identity says it has written; to be verified.
  const std::vector<JournalSlab>& promised() const { return promised_; }
  void WriteSlab(uint64_t offset, std::span<const uint8_t> bytes, uint64_t tensor, uint64_t first,
                 uint64_t rows);
  bool Holds(uint64_t offset, uint64_t bytes, uint64_t checksum) const;

  OutputFile& disk() { return *disk_; }
  // The file has its name: nothing is left to resume.
  void RemoveJournal() noexcept {
    journal_->Keep(false);
    journal_.reset();
  }

 private:
  void WriteAllButRows(const WritePlan& plan);

  const Job& job_;
  size_t file_;
  bool is_known_ = false;
  std::unique_ptr<OutputFile> disk_;
  std::unique_ptr<Journal> journal_;
  std::vector<JournalSlab> promised_;
};

// What one tensor becomes in one output file.
class Target {
 public:
  Target(const PlannedTensor& planned, size_t index, const Expression& value, Output& output);

  const PlannedTensor& planned() const { return *planned_; }
  const Job& job() const { return output_->job(); }
  uint64_t row_bytes() const { return row_bytes_; }
  // Whether an earlier run has left these rows.
  bool Holds(uint64_t first, uint64_t rows) const;
  // Thread-safe for disjoint rows.
  void Write(uint64_t first, uint64_t rows, std::span<const uint8_t> bytes) const;

 private:
  friend class Outputs;
  struct Range {
    uint64_t first;
    uint64_t end;
  };
  bool IsSane(const JournalSlab& slab) const;
  bool Verify(const JournalSlab& slab) const;
  void MergeRanges();

  const PlannedTensor* planned_;
  size_t index_;  // into WritePlan::tensors
  uint64_t rows_;
  uint64_t row_bytes_;
  Output* output_;
  std::vector<Range> held_;  // sorted, disjoint
};

class Outputs {
 public:
  // Throws as OutputFile and RequireSpace do, and kMismatch where a partial file that is to be
  // resumed belongs to another run.
  Outputs(const ModelSource& source, const OutputModel& model, std::span<const Job> jobs,
          const ExecuteOptions& options, int threads);

  std::span<const Target> TargetsOf(size_t tensor) const { return targets_[tensor]; }
  // For the user, of a resumed run: what was found.
  const std::string& note() const { return note_; }
  // Files get their names, in the order of the jobs, after `check` has seen every one.
  void Commit(const ExecuteOptions& options);

 private:
  void VerifyPromises(int threads);

  std::vector<std::unique_ptr<Output>> outputs_;
  std::vector<std::vector<Target>> targets_;  // by tensor of the model
  std::string note_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_OUTPUTS_H_
