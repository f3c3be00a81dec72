#include "formats/huggingface/front_matter.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/utf8.h"

namespace quern::formats::huggingface {
namespace {

constexpr std::string_view kFence = "---";

// The first line of `rest`, which loses it; line ends are \n, \r\n and \r.
std::string_view TakeLine(std::string_view& rest) {
  const size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end);
  if (rest.starts_with("\r\n")) {
    rest.remove_prefix(2);
  } else if (!rest.empty()) {
    rest.remove_prefix(1);
  }
  return line;
}

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != text.npos; at = hit + from.size()) {
    out.append(text, at, hit - at).append(to);
  }
  text = out.append(text, at);
}

bool IsOneOf(std::string_view text, std::span<const std::string_view> list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// YAML 1.1's words, https://yaml.org/type/bool.html and null.html, without the single letters that
// PyYAML does not take either.
constexpr std::array<std::string_view, 9> kTrue = {"yes",  "Yes", "YES", "true", "True",
                                                   "TRUE", "on",  "On",  "ON"};
constexpr std::array<std::string_view, 9> kFalse = {"no",    "No",  "NO",  "false", "False",
                                                    "FALSE", "off", "Off", "OFF"};
constexpr std::array<std::string_view, 5> kNull = {"", "~", "null", "Null", "NULL"};

std::optional<Json> ParseInteger(std::string_view digits, bool negative) {
  int base = 10;
  if (digits.starts_with("0x")) {
    base = 16;
  } else if (digits.starts_with("0b")) {
    base = 2;
  } else if (digits.size() > 1 && digits.starts_with('0')) {
    base = 8;
  }
  if (base == 16 || base == 2) digits.remove_prefix(2);
  uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value, base);
  if (error != std::errc() || at != end) return std::nullopt;
  if (!negative) return Json(value);
  if (value > uint64_t{1} << 63) return std::nullopt;
  return Json(static_cast<int64_t>(~value + 1));
}

// A float has a dot, and an exponent only with a sign: "1e5" is text in YAML 1.1. Infinities and
// NaN have no JSON form and stay text.
std::optional<Json> ParseFloat(std::string_view digits, bool negative) {
  if (digits.find('.') == digits.npos || digits == ".") return std::nullopt;
  if (digits.find_first_not_of("0123456789.eE+-") != digits.npos) return std::nullopt;
  const size_t exponent = digits.find_first_of("eE");
  if (exponent != digits.npos && digits.find_first_of("+-") != exponent + 1) return std::nullopt;
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || at != end) return std::nullopt;
  return Json(negative ? -value : value);
}

Json ResolvePlain(const std::string& text) {
  if (IsOneOf(text, kNull)) return nullptr;
  if (IsOneOf(text, kTrue)) return true;
  if (IsOneOf(text, kFalse)) return false;
  std::string_view number = text;
  const bool negative = number.starts_with('-');
  if (negative || number.starts_with('+')) number.remove_prefix(1);
  const bool numeric =
      !number.empty() && (number[0] == '.' || (number[0] >= '0' && number[0] <= '9'));
  if (!numeric) return text;
  std::string digits(number);
  std::erase(digits, '_');
  if (auto value = ParseInteger(digits, negative)) return *value;
  if (auto value = ParseFloat(digits, negative)) return *value;
  return text;
}

// Builds JSON from the parser's events. yaml-cpp's own node graph is avoided on purpose: it shares
// aliased nodes, and a few lines of it unfold to gigabytes.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(std::string_view file) : file_(file) {}

  Json TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { Put(mark, nullptr, "null"); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Fail(ErrorCode::kUnsupported, mark, "aliases (*name) are not read; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    // "?": an unquoted scalar; quoted ones and those with a tag of their own are text.
    Put(mark, tag == "?" ? ResolvePlain(value) : Json(value), value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Open(mark, Json::array());
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Open(mark, Json::object());
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Level {
    Json* container;
    std::optional<std::string> key;  // read, and waiting for its value
  };

  Error Fail(ErrorCode code, const YAML::Mark& mark, std::string_view message) const {
    // One line for the opening fence, and marks count from zero.
    return Error(code, {std::string(file_), {}, fmt::format("line {}", mark.line + 2)}, message);
  }

  // Places a value, or takes `text` as the key where one is due. Returns where the value is.
  Json* Put(const YAML::Mark& mark, Json value, const std::string& text) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = open_.back();
    if (level.container->is_array()) return &level.container->emplace_back(std::move(value));
    if (!level.key) {
      if (value.is_structured()) {
        throw Fail(ErrorCode::kUnsupported, mark, "a list or mapping as key is not read");
      }
      level.key = text;
      return nullptr;
    }
    Json& slot = (*level.container)[*level.key];
    slot = std::move(value);
    level.key.reset();
    return &slot;
  }

  void Open(const YAML::Mark& mark, Json container) {
    if (open_.size() >= kMaxFrontMatterDepth) {
      throw Fail(ErrorCode::kLimitExceeded, mark,
                 fmt::format("nested deeper than {} levels", kMaxFrontMatterDepth));
    }
    open_.push_back({Put(mark, std::move(container), {}), {}});
  }

  std::string_view file_;
  Json root_;
  std::vector<Level> open_;
};

// The lines between the fences; absent without front matter.
std::optional<std::string> Extract(std::string_view card, std::string_view file) {
  if (TakeLine(card) != kFence) return std::nullopt;
  std::string yaml;
  while (!card.empty()) {
    const std::string_view line = TakeLine(card);
    if (line == kFence) break;
    yaml.append(line).push_back('\n');
    if (yaml.size() > kMaxFrontMatterBytes) {
      throw Error(
          ErrorCode::kLimitExceeded, {std::string(file), {}, "front matter"},
          fmt::format("more than {} bytes; end it with a line \"---\"", kMaxFrontMatterBytes));
    }
  }
  if (!IsValidUtf8(yaml)) {
    throw Error(ErrorCode::kBadText, {std::string(file), {}, "front matter"},
                "is no valid UTF-8; correct the file or remove it");
  }
  return yaml;
}

}  // namespace

Json ParseFrontMatter(std::string_view text, std::string_view file) {
  auto yaml = Extract(text, file);
  if (!yaml) return Json::object();
  // gguf-py/gguf/metadata.py, load_model_card: the same two replacements, as blunt as there.
  ReplaceAll(*yaml, "- no\n", "- \"no\"\n");
  ReplaceAll(*yaml, "\t", "  ");
  Builder builder(file);
  try {
    std::istringstream stream(*yaml);
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (Builder rest(file); parser.HandleNextDocument(rest)) {
      throw Error(ErrorCode::kBadText, {std::string(file), {}, "front matter"},
                  "holds more than one YAML document; end it with a line \"---\"");
    }
  } catch (const YAML::Exception& error) {
    throw Error(
        ErrorCode::kBadText, {std::string(file), {}, fmt::format("line {}", error.mark.line + 2)},
        fmt::format("the front matter is not valid YAML ({}); correct the file or remove it",
                    error.msg));
  }
  Json root = builder.TakeRoot();
  return root.is_object() ? root : Json::object();
}

Json ReadFrontMatter(const std::filesystem::path& path) {
  return ParseFrontMatter(ReadTextFile(path, kMaxModelCardBytes), path.string());
}

}  // namespace quern::formats::huggingface
