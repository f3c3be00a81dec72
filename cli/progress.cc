#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include "formats/core/error.h"

namespace quern::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kTerminalInterval = 100ms;
constexpr auto kPlainInterval = 10s;

}  // namespace

ProgressLine::ProgressLine(const CommonOptions& common)
    : quiet_(common.quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      next_(start_ + (terminal_ ? Clock::duration(kTerminalInterval) : kPlainInterval)) {}

double ProgressLine::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void ProgressLine::Update(const converters::Progress& progress) {
  const auto now = Clock::now();
  if (quiet_ || now < next_) return;
  next_ = now + (terminal_ ? Clock::duration(kTerminalInterval) : kPlainInterval);
  const double part = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  const double passed = seconds();
  const std::string line =
      fmt::format("{:5.1f} %  {:.0f}M weights/s  {:.0f} s left  {}", 100 * part,
                  static_cast<double>(progress.done) / 1e6 / passed, passed / part - passed,
                  Printable(progress.tensor, 60));
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}", line);
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "{}\n", line);
  }
}

void ProgressLine::Finish() {
  if (!quiet_ && terminal_) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace quern::cli
