// What `perplexity`, `drift` and `generate` share: the model, the text, its tokens, and the
// protocol's options.
#ifndef QUERN_CLI_EVALUATION_H_
#define QUERN_CLI_EVALUATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/progress.h"
#include "verify/evaluation.h"
#include "verify/reference/model.h"

namespace quern::cli {

struct ModelArguments {
  std::vector<std::string> architecture_files;
  formats::OpenOptions open;
};

// --architecture, --root, --allow-opaque.
void AddModelOptions(CLI::App& command, ModelArguments& arguments);

struct EvaluationArguments : ModelArguments {
  std::string text;
  std::string token_ids;
  size_t context = 512;
  size_t windows = 0;
  bool parse_special = false;
};

void AddEvaluationOptions(CLI::App& command, EvaluationArguments& arguments);

verify::ReferenceModel OpenForEvaluation(const std::string& path, const ModelArguments& arguments);

// Throws kBadText for what is not UTF-8.
std::string ReadUtf8(const std::string& path);

struct EvaluationText {
  std::vector<int32_t> tokens;
  std::optional<int32_t> bos;
  uint64_t bytes = 0, words = 0;  // of --file; 0 without
};

// Tokens of --file by the model's tokenizer, or of --token-ids. Throws kUsage without either,
// kBadText for invalid UTF-8 and what is no id.
EvaluationText ReadText(const EvaluationArguments& arguments, const verify::ReferenceModel& model);

// Everything but `estimate`; `line` outlives the result.
verify::EvaluationOptions MakeEvaluationOptions(const EvaluationArguments& arguments,
                                                const EvaluationText& text,
                                                const CommonOptions& common, ProgressLine& line);

}  // namespace quern::cli

#endif  // QUERN_CLI_EVALUATION_H_
