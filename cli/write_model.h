// The common end of `convert` and `quantize`: plan, show or run it, report.
#ifndef QUERN_CLI_WRITE_MODEL_H_
#define QUERN_CLI_WRITE_MODEL_H_

#include "cli/command.h"
#include "cli/plan_options.h"
#include "converters/output_model.h"
#include "formats/core/model.h"

namespace quern::cli {

// Plans every requested type and prints or executes. Returns the exit code.
int WriteModel(const ModelSource& source, const converters::OutputModel& model,
               const PlanArguments& arguments, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_WRITE_MODEL_H_
