// quern tokenize MODEL: ids and pieces of a text, for checking by eye.
#include <fmt/format.h>

#include <cctype>
#include <memory>

#include "cli/command.h"
#include "converters/converter.h"
#include "converters/tokenizer/text_tokenizer.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/utf8.h"
#include "formats/reader.h"

namespace quern::cli {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

struct Arguments {
  std::string model;
  formats::OpenOptions open;
  std::string prompt;
  std::string file;
  bool no_special = false;
  bool parse_special = false;
};

// A piece on one line: control characters and bytes that are no UTF-8 as \n, \t, \xHH.
std::string Escape(std::string_view piece) {
  std::string out;
  for (size_t at = 0; at < piece.size();) {
    const size_t length = Utf8SequenceLength(piece, at);
    const auto byte = static_cast<unsigned char>(piece[at]);
    if (piece[at] == '\n') {
      out += "\\n";
    } else if (piece[at] == '\t') {
      out += "\\t";
    } else if (piece[at] == '\\') {
      out += "\\\\";
    } else if (length == 0 || byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += piece.substr(at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return out;
}

void Print(const converters::TextTokenizer& tokenizer,
           const std::vector<converters::TokenId>& ids) {
  std::string lines;
  for (const auto id : ids)
    fmt::format_to(std::back_inserter(lines), "{:>7}  |{}|\n", id, Escape(tokenizer.Piece(id)));
  fmt::print("{}", lines);
}

Json ToJson(const converters::TextTokenizer& tokenizer,
            const std::vector<converters::TokenId>& ids) {
  Json pieces = Json::array();
  for (const auto id : ids) pieces.push_back(Escape(tokenizer.Piece(id)));
  return {{"tokens", ids.size()}, {"ids", ids}, {"pieces", std::move(pieces)}};
}

int Tokenize(const Arguments& arguments, const CommonOptions& common) {
  const std::string text =
      arguments.file.empty() ? arguments.prompt : ReadTextFile(arguments.file, kMaxTextBytes);
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  converters::ConvertOptions convert;
  convert.vocab_only = true;
  const converters::OutputModel model = converters::Convert(*source, convert);
  const converters::TextTokenizer tokenizer(model.metadata);
  const auto ids = tokenizer.Encode(
      text, {.add_special = !arguments.no_special, .parse_special = arguments.parse_special});
  if (common.json) {
    PrintJson(ToJson(tokenizer, ids));
  } else {
    Print(tokenizer, ids);
    Say(common, fmt::format("{} tokens, {} bytes", ids.size(), text.size()));
  }
  return 0;
}

}  // namespace

void AddTokenize(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "tokenize", "Show the tokens of a text", {.json = true},
                 [arguments, &program] { return Tokenize(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "Folder or file")->required();
  AddOpenOptions(*command, arguments->open);
  CLI::Option* prompt = command->add_option("-p,--prompt", arguments->prompt, "The text");
  command->add_option("-f,--file", arguments->file, "File with the text")->excludes(prompt);
  command->add_flag("--no-special", arguments->no_special,
                    "Without the tokens that begin and end a text");
  command->add_flag("--parse-special", arguments->parse_special,
                    "Control tokens in the text are those tokens, not text");
}

}  // namespace quern::cli
