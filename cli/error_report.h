// What convert and quantize say of errors that were measured: --report FILE, and the note on
// tensors that were quantized a second time.
#ifndef QUERN_CLI_ERROR_REPORT_H_
#define QUERN_CLI_ERROR_REPORT_H_

#include <span>
#include <string>

#include "cli/command.h"
#include "converters/error_report.h"
#include "converters/executor.h"
#include "converters/output_model.h"

namespace quern::cli {

// One object for all jobs (docs/json.md); appears under its name only when it is complete.
void WriteErrorReport(const std::string& path, const converters::ErrorReport& report,
                      std::span<const converters::Job> jobs, const CommonOptions& common);

// Says what quantizing quantized weights again has cost, for jobs that did.
void SayRequantizationErrors(const converters::OutputModel& model,
                             const converters::ErrorReport& report,
                             std::span<const converters::Job> jobs, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_ERROR_REPORT_H_
