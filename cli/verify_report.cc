#include "cli/verify_report.h"

#include <fmt/format.h>

#include "formats/core/error.h"

namespace quern::cli {
namespace {

constexpr int kExitProblems = 1;
constexpr size_t kMaxText = 4096;

Json ToJson(const VerifyReport& report) {
  Json problems = Json::array();
  for (const verify::Problem& problem : report.problems) {
    problems.push_back(
        {{"path", problem.path}, {"kind", problem.kind}, {"detail", problem.detail}});
  }
  Json json = {{"ok", report.problems.empty()},
               {"checked", report.checked},
               {"bytes", report.bytes},
               {"problems", std::move(problems)},
               {"notes", report.notes}};
  json.update(report.more);
  return json;
}

void Print(const VerifyReport& report, const CommonOptions& common) {
  for (const verify::Problem& problem : report.problems) {
    fmt::print("{}: {}: {}\n", Printable(problem.path, kMaxText), problem.kind,
               Printable(problem.detail, kMaxText));
  }
  for (const std::string& note : report.notes) Say(common, "note: " + Printable(note, kMaxText));
  const double rate = report.seconds > 0 ? static_cast<double>(report.bytes) / report.seconds : 0;
  const size_t count = report.problems.size();
  fmt::print("{}: {} {} checked, {}, {}/s\n",
             count == 0 ? "ok" : fmt::format("{} problem{}", count, count == 1 ? "" : "s"),
             report.checked, report.what, HumanBytes(report.bytes),
             HumanBytes(static_cast<uint64_t>(rate)));
}

}  // namespace

int PrintProblems(const VerifyReport& report, const CommonOptions& common) {
  if (common.json) {
    PrintJson(ToJson(report));
  } else {
    Print(report, common);
  }
  return report.problems.empty() ? 0 : kExitProblems;
}

}  // namespace quern::cli
