#include "formats/core/yaml.h"

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
#include "formats/core/utf8.h"

namespace quern {
namespace {

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

std::string LineOf(const YAML::Mark& mark, const YamlOptions& options) {
  return fmt::format("line {}", mark.line + options.first_line);  // marks count from zero
}

// Builds JSON from the parser's events. yaml-cpp's own node graph is avoided on purpose: it shares
// aliased nodes, and a few lines of it unfold to gigabytes.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view file, const YamlOptions& options) : file_(file), options_(options) {}

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
    return Error(code, {std::string(file_), {}, LineOf(mark, options_)}, message);
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
    if (open_.size() >= kMaxYamlDepth) {
      throw Fail(ErrorCode::kLimitExceeded, mark,
                 fmt::format("nested deeper than {} levels", kMaxYamlDepth));
    }
    open_.push_back({Put(mark, std::move(container), {}), {}});
  }

  std::string_view file_;
  YamlOptions options_;
  Json root_;
  std::vector<Level> open_;
};

}  // namespace

Json ParseYaml(std::string_view text, std::string_view file, const YamlOptions& options) {
  const std::string subject(options.subject);
  if (text.size() > kMaxYamlBytes) {
    throw Error(ErrorCode::kLimitExceeded, {std::string(file), {}, subject},
                fmt::format("more than {} bytes of YAML; correct the file", kMaxYamlBytes));
  }
  if (!IsValidUtf8(text)) {
    throw Error(ErrorCode::kBadText, {std::string(file), {}, subject},
                "is no valid UTF-8; correct the file or remove it");
  }
  Builder builder(file, options);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (Builder rest(file, options); parser.HandleNextDocument(rest)) {
      throw Error(ErrorCode::kBadText, {std::string(file), {}, subject},
                  "holds more than one YAML document; end it with a line \"---\"");
    }
  } catch (const YAML::Exception& error) {
    throw Error(ErrorCode::kBadText, {std::string(file), {}, LineOf(error.mark, options)},
                fmt::format("the {} is not valid YAML ({}); correct the file or remove it",
                            options.subject, error.msg));
  }
  return builder.TakeRoot();
}

}  // namespace quern
