#include "converters/outputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "converters/run_identity.h"
#include "formats/core/checksum.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadBytes = 1 << 20;
constexpr std::string_view kPartial = ".partial";
constexpr std::string_view kJournal = ".partial.journal";

bool HasHeader(const fs::path& path, const PlannedFile& planned) {
  const File file = File::Open(path);
  if (file.size() != planned.bytes) return false;
  std::vector<uint8_t> header(planned.header.size());
  file.ReadAt(0, header);
  return header == planned.header;
}

// A run that was killed while its files got their names has left some under the final one. They
// become partial files again. Nothing else does: a journal of the run, size and header must be
// there.
void RecoverPublished(const fs::path& path, const PlannedFile& planned) {
  const fs::path partial = path.string().append(kPartial);
  std::error_code error;
  if (fs::exists(fs::symlink_status(partial, error)) || !fs::is_regular_file(path, error)) return;
  if (HasHeader(path, planned)) fs::rename(path, partial, error);
}

void RequireSpaceFor(std::span<const Job> jobs) {
  std::vector<OutputSize> sizes;
  for (const Job& job : jobs) {
    for (size_t file = 0; file < job.plan->files.size(); ++file) {
      sizes.emplace_back(FilePath(*job.plan, job.path, file), job.plan->files[file].bytes);
    }
  }
  RequireSpace(sizes);
}

}  // namespace

Output::Output(const ModelSource& source, const OutputModel& model, const Job& job, size_t file,
               const OutputOptions& options, bool is_known)
    : job_(job), file_(file) {
  const PlannedFile& planned = job.plan->files[file];
  const fs::path path = FilePath(*job.plan, job.path, file);
  const std::string journal = path.string().append(kJournal);
  const Identity identity = IdentityOf(source, model, *job.plan, file);
  std::optional<JournalContents> contents;
  if (options.resume) contents = ReadJournal(journal);
  if (contents && contents->identity != identity) {
    throw Error(ErrorCode::kMismatch, {journal, {}, {}},
                "the partial file is of another model, of another type or of other options, or the "
                "model has changed since; drop --resume to start over");
  }
  is_known_ = is_known || contents;
  if (is_known_) RecoverPublished(path, planned);
  disk_ = std::make_unique<OutputFile>(path, planned.bytes, options);
  if (contents && disk_->resumed()) {
    journal_ = std::make_unique<Journal>(journal, *contents);
    promised_ = std::move(contents->slabs);
  } else {
    journal_ = std::make_unique<Journal>(journal, identity);
  }
  journal_->Keep(options.resume);
  WriteAllButRows(*job.plan);
}

// Header, and of a resumed file the padding too: a fresh file is zeros.
void Output::WriteAllButRows(const WritePlan& plan) {
  const PlannedFile& planned = plan.files[file_];
  disk_->WriteAt(0, planned.header);
  if (!disk_->resumed()) return;
  uint64_t end = planned.header.size();
  const auto zero_up_to = [&](uint64_t next) {
    const std::vector<uint8_t> zeros(next - end);
    if (!zeros.empty()) disk_->WriteAt(end, zeros);
  };
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.file != file_) continue;
    zero_up_to(tensor.offset);
    end = tensor.offset + tensor.bytes;
  }
  zero_up_to(planned.bytes);
}

void Output::WriteSlab(uint64_t offset, std::span<const uint8_t> bytes, uint64_t tensor,
                       uint64_t first, uint64_t rows) {
  const uint64_t checksum = ChecksumOf(bytes);
  disk_->WriteAt(offset, bytes);
  journal_->Append({tensor, first, rows, checksum});
}

bool Output::Holds(uint64_t offset, uint64_t bytes, uint64_t checksum) const try {
  std::vector<uint8_t> buffer(std::min<uint64_t>(bytes, kReadBytes));
  Checksum found;
  while (bytes > 0) {
    const auto piece = std::span(buffer).first(std::min<uint64_t>(bytes, buffer.size()));
    disk_->ReadAt(offset, piece);
    found.Update(piece);
    offset += piece.size();
    bytes -= piece.size();
  }
  return found.Value() == checksum;
} catch (const Error&) {
  return false;  // cannot be read back: to be written again
}

Target::Target(const PlannedTensor& planned, size_t index, const Expression& value, Output& output)
    : planned_(&planned),
      index_(index),
      rows_(value.rows()),
      row_bytes_(*RowBytes(planned.type, value.columns())),
      output_(&output) {}

bool Target::Holds(uint64_t first, uint64_t rows) const {
  const auto after =
      std::upper_bound(held_.begin(), held_.end(), first,
                       [](uint64_t row, const Range& range) { return row < range.first; });
  return after != held_.begin() && (after - 1)->end >= first + rows;
}

void Target::Write(uint64_t first, uint64_t rows, std::span<const uint8_t> bytes) const {
  output_->WriteSlab(planned_->offset + first * row_bytes_, bytes, index_, first, rows);
}

bool Target::IsSane(const JournalSlab& slab) const {
  return slab.tensor == index_ && slab.first <= rows_ && slab.rows <= rows_ - slab.first;
}

bool Target::Verify(const JournalSlab& slab) const {
  return IsSane(slab) && output_->Holds(planned_->offset + slab.first * row_bytes_,
                                        slab.rows * row_bytes_, slab.checksum);
}

void Target::MergeRanges() {
  std::sort(held_.begin(), held_.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> merged;
  for (const Range& range : held_) {
    if (merged.empty() || merged.back().end < range.first) {
      merged.push_back(range);
    } else {
      merged.back().end = std::max(merged.back().end, range.end);
    }
  }
  held_ = std::move(merged);
}

Outputs::Outputs(const ModelSource& source, const OutputModel& model, std::span<const Job> jobs,
                 const ExecuteOptions& options, int threads)
    : targets_(model.tensors.size()) {
  RequireSpaceFor(jobs);
  for (const Job& job : jobs) {
    const size_t first_output = outputs_.size();
    for (size_t file = 0; file < job.plan->files.size(); ++file) {
      const bool is_known = !outputs_.empty() && outputs_.front()->is_known();
      outputs_.push_back(
          std::make_unique<Output>(source, model, job, file, options.output, is_known));
    }
    for (size_t i = 0; i < job.plan->tensors.size(); ++i) {
      const PlannedTensor& planned = job.plan->tensors[i];
      targets_[planned.tensor].emplace_back(planned, i, model.tensors[planned.tensor].value,
                                            *outputs_[first_output + planned.file]);
    }
  }
  if (options.output.resume) VerifyPromises(threads);
}

void Outputs::VerifyPromises(int threads) {
  struct Promise {
    Target* target;
    const JournalSlab* slab;
    bool held = false;
  };
  std::vector<Promise> promises;
  std::map<std::pair<const Output*, size_t>, Target*> by_index;
  for (auto& targets : targets_) {
    for (Target& target : targets) by_index[{target.output_, target.index_}] = &target;
  }
  for (const auto& output : outputs_) {
    for (const JournalSlab& slab : output->promised()) {
      const auto target = by_index.find({output.get(), slab.tensor});
      if (target != by_index.end()) promises.push_back({target->second, &slab});
    }
  }
  const auto count = static_cast<int64_t>(promises.size());
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) {
    promises[i].held = promises[i].target->Verify(*promises[i].slab);
  }
  size_t held = 0;
  for (const Promise& promise : promises) {
    if (!promise.held) continue;
    ++held;
    promise.target->held_.push_back(
        {promise.slab->first, promise.slab->first + promise.slab->rows});
  }
  for (auto& targets : targets_) {
    for (Target& target : targets) target.MergeRanges();
  }
  note_ = count == 0 ? "there is no partial output to resume; starting from the beginning"
                     : fmt::format("resuming: {} of {} slabs in the journal are whole on disk",
                                   held, count);
}

void Outputs::Commit(const ExecuteOptions& options) {
  for (const auto& output : outputs_) {
    if (options.check) {
      options.check(output->job(), output->file(), output->disk().partial_path());
    }
  }
  for (const auto& output : outputs_) output->disk().Sync();
  try {
    for (const auto& output : outputs_) output->disk().Publish();
  } catch (...) {
    for (const auto& output : outputs_) output->disk().Retract();
    throw;
  }
  // The first one's goes last: while it is there, the run is known for what it is.
  std::for_each(outputs_.rbegin(), outputs_.rend(), [](const auto& o) { o->RemoveJournal(); });
}

}  // namespace quern::converters
