// The report of `verify` and `hash --check`: problems, and how much was checked.
#ifndef QUERN_CLI_VERIFY_REPORT_H_
#define QUERN_CLI_VERIFY_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/command.h"
#include "verify/check_list.h"

namespace quern::cli {

struct VerifyReport {
  std::string what = "files";  // that were checked
  uint64_t checked = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  std::vector<verify::Problem> problems;
  std::vector<std::string> notes = {};
  Json more = Json::object();  // keys beside ok, checked, bytes, problems and notes
};

// One JSON object, or a line per problem and a last one. Returns the exit code: 1 with problems.
int PrintProblems(const VerifyReport& report, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_VERIFY_REPORT_H_
