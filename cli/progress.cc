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

bool ProgressLine::IsDue() {
  const auto now = Clock::now();
  if (quiet_ || now < next_) return false;
  next_ = now + (terminal_ ? Clock::duration(kTerminalInterval) : kPlainInterval);
  return true;
}

void ProgressLine::Show(const std::string& line) const {
  if (terminal_) {
    WriteToStderr("\r\x1b[K" + line);
  } else {
    WriteToStderr(line + "\n");
  }
}

void ProgressLine::Update(const converters::Progress& progress) {
  if (!IsDue()) return;
  const double part = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  const double passed = seconds();
  Show(fmt::format("{:5.1f} %  {:.0f}M weights/s  {:.0f} s left  {}", 100 * part,
                   static_cast<double>(progress.done) / 1e6 / passed, passed / part - passed,
                   Printable(progress.tensor, 60)));
}

void ProgressLine::Update(double part) {
  if (part <= 0 || !IsDue()) return;
  Show(fmt::format("{:5.1f} %  {:.0f} s left", 100 * part, seconds() / part - seconds()));
}

void ProgressLine::UpdateBytes(uint64_t done, uint64_t total) {
  if (done == 0 || !IsDue()) return;
  const double part = static_cast<double>(done) / static_cast<double>(total);
  const double passed = seconds();
  Show(fmt::format("{:5.1f} %  {:.2f} GB/s  {:.0f} s left", 100 * part,
                   static_cast<double>(done) / 1e9 / passed, passed / part - passed));
}

void ProgressLine::Finish() {
  if (!quiet_ && terminal_) WriteToStderr("\r\x1b[K");
}

}  // namespace quern::cli
