// The common end of `convert` and `quantize`: plan, show or run it, report.
#ifndef QUERN_CLI_WRITE_MODEL_H_
#define QUERN_CLI_WRITE_MODEL_H_

#include <filesystem>
#include <string>
#include <vector>

#include "cli/command.h"
#include "converters/output_model.h"
#include "converters/plan.h"
#include "formats/core/model.h"

namespace quern::cli {

// llama-quantize's options and ours that decide the plan.
struct PlanArguments {
  std::vector<std::string> types;  // -t, several times
  std::string output;              // -o; {type} stands for the file type's name
  std::string via;                 // --via
  bool pure = false;
  bool leave_output_tensor = false;
  bool allow_requantize = false;
  std::string output_tensor_type;
  std::string token_embedding_type;
  std::vector<std::string> tensor_types;  // REGEX=TYPE
  std::string imatrix;                    // --imatrix
  std::vector<std::string> include_weights;
  std::vector<std::string> exclude_weights;
  std::string report;  // --report
};

void AddPlanOptions(CLI::App& command, PlanArguments& arguments);

// Plans every requested type and prints or executes. Returns the exit code.
int WriteModel(const ModelSource& source, const converters::OutputModel& model,
               const PlanArguments& arguments, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_WRITE_MODEL_H_
