// The options of `convert` and `quantize` that decide a plan, and what they mean.
#ifndef QUERN_CLI_PLAN_OPTIONS_H_
#define QUERN_CLI_PLAN_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "converters/plan.h"
#include "quant/imatrix.h"

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
  // --tensor-type REGEX=TYPE and --tensor-type-file FILE, in their order: the first match wins
  struct TensorType {
    bool is_file;
    std::string text;
  };
  std::vector<TensorType> tensor_types;
  std::string imatrix;  // --imatrix
  std::vector<std::string> include_weights;
  std::vector<std::string> exclude_weights;
  std::vector<std::string> overrides;  // --override-kv KEY=TYPE:VALUE
  std::string prune_layers;            // --prune-layers N,N,...
  bool strict = false;
  bool explain = false;
  bool allow_nonfinite = false;
  converters::SplitOptions split;       // AddSplitOptions (split_options.h)
  std::optional<uint64_t> target_size;  // --target-size, bytes
  std::optional<double> target_bpw;     // --target-bpw
  std::string report;                   // --report
  std::string manifest;                 // --manifest
};

void AddPlanOptions(CLI::App& command, PlanArguments& arguments);

// The importance matrix that the options name; absent for none. Throws kUsage, and what reading it
// throws.
std::optional<quant::Imatrix> ReadImatrix(const PlanArguments& arguments);

// Where neither -t nor a target is given, `types` becomes {default_type}; an empty one is no
// default. Throws kUsage for a target together with -t or with another target, and for none of
// them.
void RequireOneKindOfTarget(const std::string& default_type, PlanArguments& arguments);

// What the options say for one of arguments.types. `imatrix` outlives the result and may be null.
// Throws kUsage for whatever cannot be parsed.
converters::PlanOptions MakePlanOptions(const PlanArguments& arguments, const std::string& type,
                                        const quant::Imatrix* imatrix);

}  // namespace quern::cli

#endif  // QUERN_CLI_PLAN_OPTIONS_H_
