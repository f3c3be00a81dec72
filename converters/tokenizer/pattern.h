// The "pattern" of Split and Replace: {"String": text} or {"Regex": expression}.
#ifndef QUERN_CONVERTERS_TOKENIZER_PATTERN_H_
#define QUERN_CONVERTERS_TOKENIZER_PATTERN_H_

#include <functional>
#include <string_view>
#include <vector>

#include "converters/tokenizer/regex.h"
#include "formats/core/json.h"

namespace quern::converters {

// Finds non-overlapping matches from left to right.
using Matcher = std::function<std::vector<TextSpan>(std::string_view text)>;

// Throws kBadType where `pattern` is neither form, kBadText for a bad expression.
Matcher MatcherFromJson(const Json& pattern);

Matcher LiteralMatcher(std::string_view literal);
// Matches single code points.
Matcher CodePointMatcher(bool (*matches)(char32_t));

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PATTERN_H_
