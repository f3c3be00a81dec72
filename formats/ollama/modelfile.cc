#include "formats/ollama/modelfile.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::formats::ollama {
namespace {

constexpr std::string_view kNames[] = {"from",      "license", "template", "system",
                                       "adapter",   "draft",   "renderer", "parser",
                                       "parameter", "message", "requires"};
constexpr std::string_view kRoles[] = {"system", "user", "assistant"};
constexpr std::string_view kSpaces = " \t\r\n\v\f";
constexpr std::string_view kQuotes = "\"\"\"";

bool IsSpace(char c) { return c == ' ' || c == '\t'; }
bool IsLineEnd(char c) { return c == '\n' || c == '\r'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

template <typename List>
bool Contains(const List& list, std::string_view item) {
  return std::find(std::begin(list), std::end(list), item) != std::end(list);
}

// Code points beyond ASCII that Go's strconv.IsPrint refuses and texts have: spaces, marks of
// direction and format, private use.
bool IsDropped(char32_t c) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},       {0x1680, 0x1680},   {0x180e, 0x180e},
      {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f},   {0x3000, 0x3000},   {0xe000, 0xf8ff},
      {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0001, 0xe007f}, {0xf0000, 0x10ffff}};
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

// The text without its quotes; absent where they are not closed.
std::optional<std::string_view> Unquote(std::string_view text) {
  for (const std::string_view quotes : {kQuotes, kQuotes.substr(0, 1)}) {
    if (!text.starts_with(quotes)) continue;
    if (text.size() < 2 * quotes.size() || !text.ends_with(quotes)) return {};
    return text.substr(quotes.size(), text.size() - 2 * quotes.size());
  }
  return text;
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Modelfile Parse() {
    Modelfile modelfile;
    while (SkipToInstruction()) modelfile.instructions.push_back(ParseInstruction());
    if (modelfile.TextsOf("from").empty()) throw Fail("there is no FROM line");
    return modelfile;
  }

 private:
  Error Fail(std::string_view what) const {
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n');
    return Error(ErrorCode::kBadText, {std::string(file_), at_, fmt::format("line {}", line)},
                 fmt::format("{}, so that Ollama cannot read this Modelfile", what));
  }

  // Past blank lines and comments. Whether there is more.
  bool SkipToInstruction() {
    bool comment = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (IsLineEnd(c)) comment = false;
      if (comment || IsLineEnd(c) || IsSpace(c)) continue;
      if (c != '#') return true;
      comment = true;
    }
    return false;
  }

  // What stands before the next space, which is skipped.
  std::string Word(bool (*allowed)(char)) {
    const size_t begin = at_;
    while (at_ < text_.size() && allowed(text_[at_])) ++at_;
    if (at_ == text_.size() || !IsSpace(text_[at_])) throw Fail("a space must follow this word");
    return std::string(text_.substr(begin, at_++ - begin));
  }

  Instruction ParseInstruction() {
    Instruction instruction;
    instruction.name = Word(IsLetter);
    for (char& c : instruction.name) c = static_cast<char>(c | 0x20);  // lower case
    if (!Contains(kNames, instruction.name)) throw Fail("this is no instruction of a Modelfile");
    if (instruction.name == "parameter") {
      instruction.key =
          Word([](char c) { return IsLetter(c) || (c >= '0' && c <= '9') || c == '_'; });
    } else if (instruction.name == "message") {
      instruction.key = Word(IsLetter);
      if (!Contains(kRoles, instruction.key)) throw Fail("a role is system, user or assistant");
    }
    instruction.text = ParseText();
    return instruction;
  }

  std::string ParseText() {
    std::string text;  // without spaces before it
    size_t end = 0;    // and its end without those after it
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (IsLineEnd(c)) {
        if (const auto whole = Unquote(std::string_view(text).substr(0, end))) {
          ++at_;
          return std::string(*whole);
        }
      }
      const size_t begin = at_;
      const char32_t code_point = NextCodePoint(text_, at_);
      const bool is_space = IsLineEnd(c) || IsSpace(c);
      if ((is_space && text.empty()) || (!is_space && IsDropped(code_point))) continue;
      text += text_.substr(begin, at_ - begin);
      if (!is_space) end = text.size();
    }
    const auto whole = Unquote(std::string_view(text).substr(0, end));
    if (!whole) throw Fail("the quotes of this text are not closed");
    return std::string(*whole);
  }

  std::string_view text_, file_;
  size_t at_ = 0;
};

enum class Kind { kFloat, kInteger, kBool, kList, kGivenUp };
struct Parameter {
  std::string_view name;
  Kind kind;
};
// ollama/ollama, api/types.go (Options, Runner); those given up: parser/parser.go, older versions.
constexpr Parameter kParameters[] = {{"draft_num_predict", Kind::kInteger},
                                     {"f16_kv", Kind::kGivenUp},
                                     {"frequency_penalty", Kind::kFloat},
                                     {"logits_all", Kind::kGivenUp},
                                     {"low_vram", Kind::kGivenUp},
                                     {"main_gpu", Kind::kInteger},
                                     {"min_p", Kind::kFloat},
                                     {"mirostat", Kind::kGivenUp},
                                     {"mirostat_eta", Kind::kGivenUp},
                                     {"mirostat_tau", Kind::kGivenUp},
                                     {"num_batch", Kind::kInteger},
                                     {"num_ctx", Kind::kInteger},
                                     {"num_gpu", Kind::kInteger},
                                     {"num_keep", Kind::kInteger},
                                     {"num_predict", Kind::kInteger},
                                     {"num_thread", Kind::kInteger},
                                     {"numa", Kind::kGivenUp},
                                     {"penalize_newline", Kind::kGivenUp},
                                     {"presence_penalty", Kind::kFloat},
                                     {"repeat_last_n", Kind::kInteger},
                                     {"repeat_penalty", Kind::kFloat},
                                     {"seed", Kind::kInteger},
                                     {"stop", Kind::kList},
                                     {"temperature", Kind::kFloat},
                                     {"tfs_z", Kind::kGivenUp},
                                     {"top_k", Kind::kInteger},
                                     {"top_p", Kind::kFloat},
                                     {"typical_p", Kind::kFloat},
                                     {"use_mlock", Kind::kGivenUp},
                                     {"use_mmap", Kind::kBool},
                                     {"vocab_only", Kind::kGivenUp}};

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end || text.empty()) return {};
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(value)) return {};
  }
  return value;
}

std::optional<bool> ParseBool(std::string_view text) {
  constexpr std::string_view kTrue[] = {"1", "t", "T", "TRUE", "true", "True"};
  constexpr std::string_view kFalse[] = {"0", "f", "F", "FALSE", "false", "False"};
  if (Contains(kTrue, text)) return true;
  if (Contains(kFalse, text)) return false;
  return {};
}

// The shortest decimal that is this float, not this double: 0.7 is 0.7.
Json ShortFloat(float value) {
  double number = value;
  const std::string text = fmt::format("{}", value);
  std::from_chars(text.data(), text.data() + text.size(), number);
  if (number == std::floor(number) && std::abs(number) < 1e15) return static_cast<int64_t>(number);
  return number;
}

std::optional<Json> ParseValue(Kind kind, std::string_view text) {
  if (kind == Kind::kFloat) {
    if (const auto value = ParseNumber<float>(text)) return ShortFloat(*value);
  } else if (kind == Kind::kInteger) {
    if (const auto value = ParseNumber<int64_t>(text)) return *value;
  } else if (const auto value = ParseBool(text)) {
    return *value;
  }
  return {};
}

std::string TextOf(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

std::vector<std::string> Modelfile::TextsOf(std::string_view name) const {
  std::vector<std::string> texts;
  for (const Instruction& instruction : instructions) {
    if (instruction.name == name) texts.push_back(instruction.text);
  }
  return texts;
}

std::string Modelfile::LastOf(std::string_view name) const {
  const auto texts = TextsOf(name);
  return texts.empty() ? std::string() : texts.back();
}

Modelfile ParseModelfile(std::string_view text, std::string_view file) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const std::string valid = ReplaceInvalidUtf8(text);
  return Parser(valid, file).Parse();
}

std::optional<std::string> InstructionText(const Instruction& instruction) {
  const std::string& text = instruction.text;
  const bool plain = !text.empty() && text.find_first_of("\r\n") == text.npos &&
                     Trim(text).size() == text.size() && text.front() != '"';
  std::string line = instruction.name;
  for (char& c : line) c = static_cast<char>(c & ~0x20);  // upper case
  if (!instruction.key.empty()) line += " " + instruction.key;
  line += plain ? fmt::format(" {}\n", text) : fmt::format(" \"\"\"{}\"\"\"\n", text);
  try {
    const Modelfile read = ParseModelfile("FROM x\n" + line, "");
    if (read.instructions.size() == 2 && read.instructions[1] == instruction) return line;
  } catch (const Error&) {
  }
  return {};
}

std::string ModelfileText(const Modelfile& modelfile) {
  std::string all;
  for (const Instruction& instruction : modelfile.instructions) {
    const auto text = InstructionText(instruction);
    if (!text) {
      throw Error(ErrorCode::kUnsupported, {{}, {}, instruction.name},
                  "a Modelfile cannot say this text: a line of it ends in three quotes, or it has "
                  "characters that Ollama drops; change the text");
    }
    all += *text;
  }
  return all;
}

std::string ParametersJson(const Modelfile& modelfile, std::string_view file) {
  nlohmann::json params;  // sorts its keys, as Go does
  for (const Instruction& instruction : modelfile.instructions) {
    if (instruction.name != "parameter") continue;
    const Where where{std::string(file), {}, instruction.key};
    const auto known = std::find_if(std::begin(kParameters), std::end(kParameters),
                                    [&](const Parameter& p) { return p.name == instruction.key; });
    if (known == std::end(kParameters)) {
      throw Error(ErrorCode::kUsage, where, "Ollama has no parameter of this name");
    }
    if (known->kind == Kind::kGivenUp) continue;
    if (known->kind == Kind::kList) {
      params[instruction.key].push_back(instruction.text);
      continue;
    }
    const auto value = ParseValue(known->kind, instruction.text);
    if (!value) {
      throw Error(ErrorCode::kBadValue, where,
                  fmt::format("\"{}\" is no value of this parameter", Printable(instruction.text)));
    }
    params[instruction.key] = *value;
  }
  return params.is_null() ? std::string() : GoJson(params);
}

std::string MessagesJson(const Modelfile& modelfile) {
  nlohmann::ordered_json messages;
  for (const Instruction& instruction : modelfile.instructions) {
    if (instruction.name != "message") continue;
    messages.push_back({{"role", instruction.key}, {"content", instruction.text}});
  }
  return messages.is_null() ? std::string() : GoJson(messages);
}

std::string GoJson(const nlohmann::ordered_json& json) {
  constexpr std::pair<std::string_view, std::string_view> kEscapes[] = {
      {"<", "\\u003c"},
      {">", "\\u003e"},
      {"&", "\\u0026"},
      {"\xe2\x80\xa8", "\\u2028"},
      {"\xe2\x80\xa9", "\\u2029"}};
  const std::string plain =
      json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::string text;
  for (size_t at = 0; at < plain.size();) {
    const std::string_view rest = std::string_view(plain).substr(at);
    const auto* escape =
        std::find_if(std::begin(kEscapes), std::end(kEscapes),
                     [&](const auto& candidate) { return rest.starts_with(candidate.first); });
    if (escape == std::end(kEscapes)) {
      text += plain[at++];
    } else {
      text += escape->second;
      at += escape->first.size();
    }
  }
  return text + "\n";
}

std::vector<Instruction> ParameterInstructions(const Json& params) {
  std::vector<Instruction> instructions;
  if (!params.is_object()) return instructions;
  for (const auto& [key, value] : params.items()) {
    const Json list = value.is_array() ? value : Json::array({value});
    for (const Json& item : list) {
      if (item.is_primitive() && !item.is_null()) {
        instructions.push_back({"parameter", key, TextOf(item)});
      }
    }
  }
  return instructions;
}

std::vector<Instruction> MessageInstructions(const Json& messages) {
  std::vector<Instruction> instructions;
  if (!messages.is_array()) return instructions;
  for (const Json& message : messages) {
    if (!message.is_object()) continue;
    const Json role = message.value("role", Json()), content = message.value("content", Json());
    if (!role.is_string() || !content.is_string()) continue;
    instructions.push_back({"message", role.get<std::string>(), content.get<std::string>()});
  }
  return instructions;
}

}  // namespace quern::formats::ollama
