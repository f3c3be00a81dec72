// quern generate MODEL -p PROMPT: the reference inference speaks, to see that a model is alive.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/evaluation.h"
#include "cli/interrupt.h"
#include "converters/tokenizer/text_stream.h"
#include "converters/tokenizer/text_tokenizer.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"
#include "verify/generation.h"

namespace quern::cli {
namespace {

struct Arguments {
  std::string model;
  ModelArguments open;
  std::optional<std::string> prompt;
  std::string file;
  size_t tokens = 64;
  double temperature = 0;
  uint64_t seed = 0;
};

const char* Name(verify::Stop stop) {
  switch (stop) {
    case verify::Stop::kLength:
      return "length";
    case verify::Stop::kEnd:
      return "end";
    case verify::Stop::kContext:
      return "context";
  }
  return "";
}

std::string ReadPrompt(const Arguments& arguments) {
  if (arguments.prompt) return *arguments.prompt;
  if (arguments.file.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--prompt"},
                "a text to go on with is needed: -p PROMPT or -f FILE");
  }
  std::string text = ReadUtf8(arguments.file);
  // An editor's, not the text's; llama.cpp does the same.
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// Shows text at once.
void Print(const std::string& text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written == text.size() && std::fflush(stdout) == 0) return;
  throw Error(ErrorCode::kIo, {{}, {}, "standard output"},
              "cannot be written; the text is incomplete");
}

void Explain(const CommonOptions& common, const verify::GenerationResult& result, size_t prompt) {
  const double seconds = result.seconds - result.prompt_seconds;
  Say(common, fmt::format("prompt: {} tokens in {:.2f} s; then {} tokens in {:.2f} s", prompt,
                          result.prompt_seconds, result.tokens.size(), seconds));
  if (result.stopped == verify::Stop::kEnd) Say(common, "stopped at a token that ends the text");
  if (result.stopped == verify::Stop::kContext) {
    Say(common, fmt::format("stopped at the model's context of {} tokens", result.context));
  }
}

Json ToJson(const Arguments& arguments, const std::vector<int32_t>& prompt,
            const verify::GenerationResult& result, const std::string& text) {
  return {{"model", arguments.model},
          {"prompt_tokens", prompt},
          {"tokens", result.tokens},
          {"text", text},
          {"stopped", Name(result.stopped)},
          {"context", result.context > 0 ? Json(result.context) : Json()},
          {"temperature", arguments.temperature},
          {"seed", arguments.seed},
          {"prompt_seconds", result.prompt_seconds},
          {"seconds", result.seconds}};
}

int Generate(const Arguments& arguments, const CommonOptions& common) {
  const std::string prompt = ReadPrompt(arguments);
  const verify::ReferenceModel model = OpenForEvaluation(arguments.model, arguments.open);
  const converters::TextTokenizer tokenizer(model.model.metadata);
  std::vector<int32_t> ids;
  for (const auto id : tokenizer.Encode(prompt)) ids.push_back(static_cast<int32_t>(id));
  // A text that is to go on is not at its end.
  if (tokenizer.add_eos()) ids.pop_back();

  converters::TextStream stream;
  std::string text;
  const auto show = [&](const std::string& more) {
    text += more;
    if (!common.json) Print(more);
  };
  ProgressLine line(common);
  bool begun = false;
  const auto begin = [&] {
    if (begun) return;
    begun = true;
    line.Finish();
    if (!common.json) Print(ReplaceInvalidUtf8(prompt));
  };
  const verify::GenerationOptions options = {
      .max_tokens = arguments.tokens,
      .temperature = arguments.temperature,
      .seed = arguments.seed,
      .memory = common.memory,
      .threads = common.threads,
      .ends = [&](int32_t id) { return tokenizer.EndsGeneration(static_cast<uint32_t>(id)); },
      .token =
          [&](int32_t id) {
            begin();
            show(stream.Add(tokenizer.Piece(static_cast<uint32_t>(id))));
          },
      .progress =
          [&](double done) {
            ThrowIfInterrupted(Leaves::kText);
            if (!begun) line.Update(done);
          }};
  const verify::GenerationResult result = verify::Generate(model, ids, options);
  begin();
  show(stream.Finish());
  if (common.json) {
    PrintJson(ToJson(arguments, ids, result, text));
  } else {
    Print("\n");
  }
  Explain(common, result, ids.size());
  return 0;
}

}  // namespace

void AddGenerate(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "generate", "Let a model go on with a text, to see that it is alive",
                 {.json = true, .memory = true},
                 [arguments, &program] { return Generate(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "Folder or file")->required();
  CLI::Option* prompt =
      command->add_option("-p,--prompt", arguments->prompt, "The text to go on with");
  command->add_option("-f,--file", arguments->file, "File with that text, UTF-8")->excludes(prompt);
  constexpr size_t kMaxTokens = size_t{1} << 20;
  command->add_option("-n,--n-predict", arguments->tokens, "Most tokens to make (default 64)")
      ->check(CLI::Range(size_t{1}, kMaxTokens));
  CLI::Option* temperature =
      command
          ->add_option("--temp", arguments->temperature,
                       "Draw tokens at this temperature (default 0: the most likely one)")
          ->check(CLI::Range(0.0, 100.0));
  command->add_option("--seed", arguments->seed, "Of the draws (default 0)")->needs(temperature);
  AddModelOptions(*command, arguments->open);
}

}  // namespace quern::cli
