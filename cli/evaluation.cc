#include "cli/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "cli/interrupt.h"
#include "converters/tokenizer/text_tokenizer.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/utf8.h"

namespace quern::cli {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{4} << 30;

bool IsSpace(char c) { return std::string_view(" \t\r\n\v\f").find(c) != std::string_view::npos; }

uint64_t CountWords(std::string_view text) {
  uint64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    if (!IsSpace(c) && !inside) ++words;
    inside = !IsSpace(c);
  }
  return words;
}

// Whole numbers between white space.
std::vector<int32_t> ReadIds(const std::string& path) {
  const std::string text = ReadTextFile(path, kMaxTextBytes);
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    at = std::find_if_not(at, end, IsSpace);
    if (at == end) return ids;
    int32_t id = 0;
    const auto [stop, code] = std::from_chars(at, end, id);
    if (code != std::errc() || (stop != end && !IsSpace(*stop))) {
      throw Error(ErrorCode::kBadText, {path, static_cast<uint64_t>(at - text.data()), {}},
                  "is not a token id; the file must hold whole numbers between white space");
    }
    ids.push_back(id);
    at = stop;
  }
}

}  // namespace

std::string ReadUtf8(const std::string& path) {
  std::string text = ReadTextFile(path, kMaxTextBytes);
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8SequenceLength(text, at);
    if (length == 0) {
      throw Error(ErrorCode::kBadText, {path, at, {}},
                  "is not UTF-8; convert the text, for example with iconv");
    }
    at += length;
  }
  return text;
}

void AddModelOptions(CLI::App& command, ModelArguments& arguments) {
  command
      .add_option("--architecture", arguments.architecture_files,
                  "Architecture file to use beside the built-in ones (docs/architectures.md)")
      ->take_all();
  AddOpenOptions(command, arguments.open);
}

void AddEvaluationOptions(CLI::App& command, EvaluationArguments& arguments) {
  command.add_option("-f,--file", arguments.text, "Text to evaluate, UTF-8")->type_name("TEXT");
  command
      .add_option("--token-ids", arguments.token_ids,
                  "The text's token ids, tokenized elsewhere: whole numbers between white space")
      ->type_name("FILE");
  command.add_option("-c,--ctx", arguments.context, "Tokens of a window (default 512)");
  command.add_option("--chunks", arguments.windows, "Windows to evaluate (default: all)");
  AddModelOptions(command, arguments);
}

verify::ReferenceModel OpenForEvaluation(const std::string& path, const ModelArguments& arguments) {
  converters::ConvertOptions options;
  for (const std::string& file : arguments.architecture_files) {
    options.architecture_files.emplace_back(file);
  }
  return verify::OpenReferenceModel(path, arguments.open, options);
}

EvaluationText ReadText(const EvaluationArguments& arguments, const verify::ReferenceModel& model) {
  if (arguments.text.empty() && arguments.token_ids.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--file"}, "a text to evaluate is needed: -f TEXT");
  }
  EvaluationText text;
  text.bos = verify::BeginningToken(model.model.metadata);
  std::string content;
  if (!arguments.text.empty()) {
    content = ReadUtf8(arguments.text);
    text.bytes = content.size();
    text.words = CountWords(content);
  }
  if (arguments.token_ids.empty()) {
    const auto ids = converters::TextTokenizer(model.model.metadata)
                         .Encode(content, {.parse_special = arguments.parse_special});
    text.tokens.assign(ids.begin(), ids.end());
  } else {
    text.tokens = ReadIds(arguments.token_ids);
  }
  return text;
}

verify::EvaluationOptions MakeEvaluationOptions(const EvaluationArguments& arguments,
                                                const EvaluationText& text,
                                                const CommonOptions& common, ProgressLine& line) {
  verify::EvaluationOptions options;
  options.context = arguments.context;
  options.max_windows = arguments.windows;
  options.bos = text.bos;
  options.memory = common.memory;
  options.threads = common.threads;
  options.progress = [&line](double done) {
    ThrowIfInterrupted();
    line.Update(done);
  };
  return options;
}

}  // namespace quern::cli
