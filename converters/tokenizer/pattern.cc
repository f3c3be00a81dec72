#include "converters/tokenizer/pattern.h"

#include <string>

#include "converters/tokenizer/json_fields.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {

Matcher MatcherFromJson(const Json& pattern) {
  if (const Json& literal = Member(pattern, "String"); literal.is_string())
    return LiteralMatcher(literal.get_ref<const std::string&>());
  const Json& expression = Member(pattern, "Regex");
  if (!expression.is_string()) {
    throw Error(ErrorCode::kBadType, {.subject = "pattern"},
                "must be {\"String\": ...} or {\"Regex\": ...}; the tokenizer file is damaged");
  }
  return [regex = Regex(expression.get_ref<const std::string&>())](std::string_view text) {
    return regex.FindAll(text);
  };
}

Matcher LiteralMatcher(std::string_view literal) {
  return [literal = std::string(literal)](std::string_view text) {
    std::vector<TextSpan> matches;
    if (literal.empty()) return matches;
    for (size_t at = text.find(literal); at != std::string_view::npos;
         at = text.find(literal, at + literal.size())) {
      matches.push_back({at, at + literal.size()});
    }
    return matches;
  };
}

Matcher CodePointMatcher(bool (*matches)(char32_t)) {
  return [matches](std::string_view text) {
    std::vector<TextSpan> found;
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      if (matches(NextCodePoint(text, at))) found.push_back({begin, at});
    }
    return found;
  };
}

}  // namespace quern::converters
