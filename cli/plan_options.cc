#include "cli/plan_options.h"

#include <fmt/format.h>

#include <cctype>
#include <sstream>

#include "cli/command.h"
#include "converters/model_edits.h"
#include "formats/core/error.h"
#include "formats/core/file.h"

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

// One REGEX=TYPE by llama-quantize's rules: the first '=' splits, and the pattern is taken in lower
// case.
void AddTensorType(const std::string& option, const std::string& text,
                   quant::RecipeOptions& recipe) {
  const size_t equals = text.find('=');
  if (equals == text.npos || equals == 0) {
    throw Error(ErrorCode::kUsage, {{}, {}, option},
                fmt::format("\"{}\" is not REGEX=TYPE", Printable(text)));
  }
  std::string pattern = text.substr(0, equals);
  for (char& c : pattern) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  recipe.tensor_types.emplace_back(std::move(pattern),
                                   TypeArgument(option, text.substr(equals + 1)));
}

// A list of them, separated by blanks or newlines.
void AddTensorTypesOf(const std::string& file, quant::RecipeOptions& recipe) {
  constexpr uint64_t kMaxBytes = 16 << 20;
  std::istringstream words(ReadTextFile(file, kMaxBytes));
  for (std::string word; words >> word;) {
    AddTensorType("--tensor-type-file " + file, word, recipe);
  }
}

void AddEditOptions(CLI::App& command, PlanArguments& arguments) {
  command
      .add_option("--override-kv", arguments.overrides,
                  "KEY=TYPE:VALUE: metadata key with another value, TYPE being int, float, bool or "
                  "str; repeatable")
      ->take_all();
  command
      .add_option("--prune-layers", arguments.prune_layers,
                  "Leave out these layers, e.g. 3,4,7, and number the others anew")
      ->type_name("N,N,...");
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
  const auto add_tensor_types = [&](const std::string& name, bool is_file,
                                    const std::string& description) {
    command
        .add_option_function<std::string>(
            name,
            [&arguments, is_file](const std::string& text) {
              arguments.tensor_types.push_back({is_file, text});
            },
            description)
        ->trigger_on_parse();  // so that both keep their common order
  };
  add_tensor_types(
      "--tensor-type", false,
      "REGEX=TYPE: tensor type for tensors whose name the regex finds; repeatable, the "
      "first match wins");
  add_tensor_types("--tensor-type-file", true,
                   "File with a list of REGEX=TYPE, separated by blanks or newlines; repeatable");
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
  AddEditOptions(command, arguments);
  command.add_flag("--allow-requantize", arguments.allow_requantize,
                   "Quantize tensors that are quantized already (they lose precision twice)");
  command.add_flag("--allow-nonfinite", arguments.allow_nonfinite,
                   "Go on where a weight is NaN or infinite; what becomes of its block is not "
                   "defined");
  command.add_flag("--strict", arguments.strict,
                   "Refuse to give a tensor another type because its rows do not fit the recipe's");
  command.add_flag("--explain", arguments.explain,
                   "Print each tensor's type and the rule that chose it, and write nothing");
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
  command.add_option("--manifest", arguments.manifest,
                     "JSON file to write: SHA-256 of all files that were read and written, and the "
                     "options (docs/verify.md)");
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
  if (imatrix.entries.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--imatrix"},
                "--include-weights and --exclude-weights leave no entry of the importance matrix; "
                "`quern inspect` lists their names");
  }
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
  for (const auto& [is_file, text] : arguments.tensor_types) {
    if (is_file) {
      AddTensorTypesOf(text, recipe);
    } else {
      AddTensorType("--tensor-type", text, recipe);
    }
  }
  for (const std::string& text : arguments.overrides) {
    options.overrides.push_back(converters::ParseKeyOverride(text));
  }
  options.strict = arguments.strict;
  options.split = arguments.split;
  options.imatrix = imatrix;
  options.imatrix_file = arguments.imatrix;
  return options;
}

}  // namespace quern::cli
