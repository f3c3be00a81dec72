// Progress of a long run: a line that rewrites itself on a terminal, a few plain lines elsewhere.
#ifndef QUERN_CLI_PROGRESS_H_
#define QUERN_CLI_PROGRESS_H_

#include <chrono>

#include "cli/command.h"
#include "converters/executor.h"

namespace quern::cli {

class ProgressLine {
 public:
  explicit ProgressLine(const CommonOptions& common);
  void Update(const converters::Progress& progress);
  void Update(double part);  // of the work, 0 to 1
  void UpdateBytes(uint64_t done, uint64_t total);
  // Clears the line.
  void Finish();
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  bool IsDue();
  void Show(const std::string& line) const;

  bool quiet_;
  bool terminal_;
  Clock::time_point start_;
  Clock::time_point next_;
};

}  // namespace quern::cli

#endif  // QUERN_CLI_PROGRESS_H_
