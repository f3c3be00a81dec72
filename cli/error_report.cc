#include "cli/error_report.h"

#include <fmt/format.h>

#include "formats/core/error.h"
#include "formats/core/output_file.h"

namespace quern::cli {

namespace fs = std::filesystem;
using converters::ErrorReport;
using converters::Job;

void RequireReportPath(const std::string& path, std::span<const Job> jobs,
                       const CommonOptions& common) {
  for (const Job& job : jobs) {
    if (fs::weakly_canonical(path) != fs::weakly_canonical(job.path)) continue;
    throw Error(ErrorCode::kUsage, {path, {}, "--report"},
                "the report would replace the output; choose another name");
  }
  // Creates the partial file and removes it again: what cannot be written is found out first.
  OutputFile(path, 0, {.force = common.force});
}

void WriteErrorReport(const std::string& path, const ErrorReport& report, std::span<const Job> jobs,
                      const CommonOptions& common) {
  Json outputs = Json::array();
  for (size_t i = 0; i < jobs.size(); ++i) {
    Json output = report.ToJson(i);
    output["output"] = jobs[i].path.string();
    outputs.push_back(std::move(output));
  }
  const std::string text =
      Json{{"outputs", std::move(outputs)}}.dump(2, ' ', false, Json::error_handler_t::replace) +
      "\n";
  OutputFile file(path, text.size(), {.force = common.force});
  file.WriteAt(0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  file.Commit();
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
