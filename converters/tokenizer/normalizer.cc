#include "converters/tokenizer/normalizer.h"

#include <map>
#include <utility>

#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/pattern.h"
#include "converters/tokenizer/precompiled_charsmap.h"
#include "converters/tokenizer/unicode.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

using Step = std::function<std::string(std::string)>;
using Steps = std::vector<Step>;

Step UnicodeStep(NormalForm form) {
  return [form](std::string text) { return NormalizeUnicode(text, form); };
}

Step ReplaceStep(const Json& config) {
  return [matcher = MatcherFromJson(Member(config, "pattern")),
          content = StringField(config, "content")](std::string text) {
    std::string replaced;
    size_t end = 0;
    for (const TextSpan& match : matcher(text)) {
      replaced.append(text, end, match.begin - end).append(content);
      end = match.end;
    }
    return replaced.append(text, end);
  };
}

Step PrependStep(const Json& config) {
  return [prefix = StringField(config, "prepend")](std::string text) {
    return text.empty() ? text : prefix + text;
  };
}

Step StripStep(const Json& config) {
  const bool left = BoolField(config, "strip_left", true);
  const bool right = BoolField(config, "strip_right", true);
  return [left, right](std::string text) {
    size_t begin = 0;
    size_t end = 0;
    bool inside = false;
    for (size_t at = 0; at < text.size();) {
      const size_t first = at;
      if (IsWhitespace(NextCodePoint(text, at))) continue;
      if (!inside) begin = first;
      inside = true;
      end = at;
    }
    if (!inside) begin = left ? text.size() : 0;
    if (!left) begin = 0;
    if (!right) end = text.size();
    return begin < end ? text.substr(begin, end - begin) : std::string();
  };
}

std::string CleanText(std::string_view text) {
  std::string clean;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextCodePoint(text, at);
    if (IsWhitespace(c)) {
      clean += ' ';
    } else if (c != 0 && c != 0xfffd && !IsOther(c)) {
      AppendUtf8(c, clean);
    }
  }
  return clean;
}

std::string IsolateChinese(std::string_view text) {
  std::string isolated;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const bool chinese = IsChineseCharacter(NextCodePoint(text, at));
    if (chinese) isolated += ' ';
    isolated += text.substr(begin, at - begin);
    if (chinese) isolated += ' ';
  }
  return isolated;
}

Step BertStep(const Json& config) {
  const bool clean = BoolField(config, "clean_text", true);
  const bool chinese = BoolField(config, "handle_chinese_chars", true);
  const bool lower = BoolField(config, "lowercase", true);
  const bool strip = BoolField(config, "strip_accents", lower);
  return [=](std::string text) {
    if (clean) text = CleanText(text);
    if (chinese) text = IsolateChinese(text);
    if (strip) {
      text = Filter(NormalizeUnicode(text, NormalForm::kNfd),
                    [](char32_t c) { return !IsNonspacingMark(c); });
    }
    return lower ? ToLower(text) : text;
  };
}

Step PrecompiledStep(const Json& config) {
  return [map = PrecompiledCharsmap(StringField(config, "precompiled_charsmap"))](
             std::string text) { return map.Normalize(text); };
}

// One entry per type that is a single step.
const std::map<std::string, Step (*)(const Json&), std::less<>>& Types() {
  static const std::map<std::string, Step (*)(const Json&), std::less<>> types = {
      {"NFC", [](const Json&) { return UnicodeStep(NormalForm::kNfc); }},
      {"NFD", [](const Json&) { return UnicodeStep(NormalForm::kNfd); }},
      {"NFKC", [](const Json&) { return UnicodeStep(NormalForm::kNfkc); }},
      {"NFKD", [](const Json&) { return UnicodeStep(NormalForm::kNfkd); }},
      {"Lowercase", [](const Json&) -> Step { return [](std::string t) { return ToLower(t); }; }},
      {"StripAccents",
       [](const Json&) -> Step {
         return [](std::string t) { return Filter(t, [](char32_t c) { return !IsMark(c); }); };
       }},
      {"Replace", ReplaceStep},
      {"Prepend", PrependStep},
      {"Strip", StripStep},
      {"BertNormalizer", BertStep},
      {"Precompiled", PrecompiledStep},
  };
  return types;
}

void AppendSteps(const Json& config, Steps& steps) {
  if (config.is_null()) return;
  const std::string type = TypeField(config, "normalizer");
  if (type == "Sequence") {
    for (const Json& inner : ArrayField(config, "normalizers")) AppendSteps(inner, steps);
    return;
  }
  const auto known = Types().find(type);
  if (known == Types().end()) {
    throw Error(ErrorCode::kUnsupported, {.subject = "normalizer"},
                "the type \"" + Printable(type) +
                    "\" is not supported; name the pre-tokenizer with --pre NAME");
  }
  steps.push_back(known->second(config));
}

}  // namespace

Normalizer::Normalizer(const Json& config) { AppendSteps(config, steps_); }

std::string Normalizer::Normalize(std::string text) const {
  for (const auto& step : steps_) text = step(std::move(text));
  return text;
}

}  // namespace quern::converters
