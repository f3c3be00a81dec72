#include "cli/error_report.h"

#include <fmt/format.h>

#include "cli/json_file.h"

namespace quern::cli {

using converters::ErrorReport;
using converters::Job;

void WriteErrorReport(const std::string& path, const ErrorReport& report, std::span<const Job> jobs,
                      const CommonOptions& common) {
  Json outputs = Json::array();
  for (size_t i = 0; i < jobs.size(); ++i) {
    Json output = report.ToJson(i);
    output["output"] = jobs[i].path.string();
    outputs.push_back(std::move(output));
  }
  WriteJsonFile(path, Json{{"outputs", std::move(outputs)}}, common);
}

void SayRequantizationErrors(const converters::OutputModel& model, const ErrorReport& report,
                             std::span<const Job> jobs, const CommonOptions& common) {
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto errors = converters::RequantizationErrors(model, report, i);
    if (errors.count == 0) continue;
    Say(common, fmt::format("{}: quantizing again added an error of {:.2f} % (relative RMSE) to "
                            "what the source had lost already",
                            jobs[i].path.string(), 100 * errors.RelativeRmse()));
  }
}

}  // namespace quern::cli
