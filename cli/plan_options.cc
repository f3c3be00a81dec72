#include "cli/plan_options.h"

#include <fmt/format.h>

#include <cctype>

#include "cli/command.h"
#include "formats/core/error.h"

namespace quern::cli {
namespace {

using converters::PlanOptions;

TensorType TypeArgument(const std::string& option, const std::string& name) {
  if (const auto type = TensorTypeFromName(name)) return *type;
  throw Error(ErrorCode::kUsage, {{}, {}, option},
              fmt::format("there is no tensor type \"{}\"; `quern types` lists them", name));
}

const quant::FileType* FileTypeArgument(const std::string& name) {
  if (name == "auto") return nullptr;
  if (const quant::FileType* type = quant::FindFileType(name)) return type;
  throw Error(ErrorCode::kUsage, {{}, {}, "--type"},
              fmt::format("there is no file type \"{}\"; `quern types` lists them", name));
}

}  // namespace

void AddPlanOptions(CLI::App& command, PlanArguments& arguments) {
  command.add_option("-o,--output", arguments.output,
                     "File to write; {type} stands for the type's name (default: named after the "
                     "model, in this folder)");
  command.add_option("--via", arguments.via,
                     "Precision that weights are rounded to before they are quantized: auto (what "
                     "llama.cpp's converter would store), F32, F16, BF16");
  command.add_flag("--pure", arguments.pure, "The same type for every tensor");
  command.add_flag("--leave-output-tensor", arguments.leave_output_tensor,
                   "Do not quantize output.weight");
  command.add_option("--output-tensor-type", arguments.output_tensor_type,
                     "Tensor type for output.weight");
  command.add_option("--token-embedding-type", arguments.token_embedding_type,
                     "Tensor type for token_embd.weight");
  command
      .add_option("--tensor-type", arguments.tensor_types,
                  "REGEX=TYPE: tensor type for tensors whose name the regex finds; repeatable")
      ->take_all();
  command.add_option("--imatrix", arguments.imatrix,
                     "Importance matrix (llama-imatrix's .gguf or .dat): which columns matter");
  command
      .add_option("--include-weights", arguments.include_weights,
                  "Use the importance matrix only for tensors whose name contains this; repeatable")
      ->take_all();
  command
      .add_option("--exclude-weights", arguments.exclude_weights,
                  "Do not use the importance matrix for tensors whose name contains this; "
                  "repeatable")
      ->take_all();
  command
      .add_option_function<std::string>(
          "--target-size",
          [&arguments](const std::string& text) { arguments.target_size = ParseSize(text); },
          "In place of -t: the types that lose least in a file of this size, e.g. 4.5G (powers of "
          "1024)")
      ->type_name("SIZE");
  command
      .add_option("--target-bpw", arguments.target_bpw,
                  "In place of -t: the same for an average of bits per weight, e.g. 4.2")
      ->check(CLI::Range(0.1, 64.0));
  command.add_option("--report", arguments.report,
                     "JSON file to write: the error of each tensor (docs/json.md)");
}

void RequireOneKindOfTarget(const std::string& default_type, PlanArguments& arguments) {
  const int kinds = !arguments.types.empty() + arguments.target_size.has_value() +
                    arguments.target_bpw.has_value();
  if (kinds > 1) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--type"},
                "--type, --target-size and --target-bpw exclude each other; give one of them");
  }
  if (kinds == 1) return;
  if (default_type.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--type"},
                "say what to make: --type Q4_K_M (`quern types` lists them), --target-size 4.5G or "
                "--target-bpw 4.2");
  }
  arguments.types = {default_type};
}

std::optional<quant::Imatrix> ReadImatrix(const PlanArguments& arguments) {
  if (arguments.imatrix.empty()) {
    if (arguments.include_weights.empty() && arguments.exclude_weights.empty()) return {};
    throw Error(ErrorCode::kUsage, {{}, {}, "--imatrix"},
                "--include-weights and --exclude-weights choose among the entries of an importance "
                "matrix; name one");
  }
  quant::Imatrix imatrix = formats::imatrix::ReadImatrix(arguments.imatrix);
  quant::FilterImatrix(arguments.include_weights, arguments.exclude_weights, imatrix);
  return imatrix;
}

PlanOptions MakePlanOptions(const PlanArguments& arguments, const std::string& type,
                            const quant::Imatrix* imatrix) {
  PlanOptions options;
  options.file_type = FileTypeArgument(type);
  if (!arguments.via.empty() && arguments.via != "auto") {
    options.via = TypeArgument("--via", arguments.via);
    if (!IsFloat(*options.via) || Info(*options.via).gguf_id < 0) {
      throw Error(ErrorCode::kUsage, {{}, {}, "--via"}, "choose auto, F32, F16 or BF16");
    }
  }
  quant::RecipeOptions& recipe = options.recipe;
  recipe.pure = arguments.pure;
  recipe.leave_output_tensor = arguments.leave_output_tensor;
  recipe.allow_requantize = arguments.allow_requantize;
  if (!arguments.output_tensor_type.empty()) {
    recipe.output_tensor_type = TypeArgument("--output-tensor-type", arguments.output_tensor_type);
  }
  if (!arguments.token_embedding_type.empty()) {
    recipe.token_embedding_type =
        TypeArgument("--token-embedding-type", arguments.token_embedding_type);
  }
  for (const std::string& text : arguments.tensor_types) {
    // llama-quantize's rules: the first '=' splits, and the pattern is taken in lower case.
    const size_t equals = text.find('=');
    if (equals == text.npos) {
      throw Error(ErrorCode::kUsage, {{}, {}, "--tensor-type"},
                  fmt::format("\"{}\" is not REGEX=TYPE", text));
    }
    std::string pattern = text.substr(0, equals);
    for (char& c : pattern) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    recipe.tensor_types.emplace_back(std::move(pattern),
                                     TypeArgument("--tensor-type", text.substr(equals + 1)));
  }
  options.imatrix = imatrix;
  options.imatrix_file = arguments.imatrix;
  return options;
}

}  // namespace quern::cli
