#include "converters/tokenizer/pre_tokenizer.h"

#include <map>
#include <utility>

#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/pattern.h"
#include "converters/tokenizer/unicode.h"
#include "formats/core/error.h"

namespace quern::converters {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

using Step = std::function<std::vector<Word>(std::vector<Word>)>;

// What becomes of the matches when text is split at them.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior BehaviorFromJson(const Json& config, std::string_view fallback) {
  static const std::map<std::string, Behavior, std::less<>> names = {
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  const std::string name = StringField(config, "behavior", fallback);
  const auto known = names.find(name);
  if (known == names.end()) {
    throw Error(ErrorCode::kBadValue, {.subject = "behavior"},
                "\"" + Printable(name) + "\" is unknown; the tokenizer file is damaged");
  }
  return known->second;
}

struct Part {
  TextSpan span;
  bool match = false;
};

// The matches and what lies between them, in order; nothing empty between.
std::vector<Part> Parts(std::string_view text, const Matcher& matcher, bool invert) {
  std::vector<Part> parts;
  size_t end = 0;
  for (const TextSpan& match : matcher(text)) {
    if (match.begin > end) parts.push_back({{end, match.begin}, invert});
    parts.push_back({match, !invert});
    end = match.end;
  }
  if (end < text.size()) parts.push_back({{end, text.size()}, invert});
  return parts;
}

std::vector<TextSpan> Join(const std::vector<Part>& parts, Behavior behavior) {
  std::vector<TextSpan> spans;
  bool previous_match = false;  // whether the part before was a match
  for (const Part& part : parts) {
    const bool first = spans.empty();
    switch (behavior) {
      case Behavior::kRemoved:
        if (!part.match) spans.push_back(part.span);
        break;
      case Behavior::kIsolated:
        spans.push_back(part.span);
        break;
      case Behavior::kContiguous:
        if (!first && part.match == previous_match) {
          spans.back().end = part.span.end;
        } else {
          spans.push_back(part.span);
        }
        break;
      case Behavior::kMergedWithPrevious:
        if (!first && part.match && !previous_match) {
          spans.back().end = part.span.end;
        } else {
          spans.push_back(part.span);
        }
        break;
      case Behavior::kMergedWithNext:
        if (!first && !part.match && previous_match) {
          spans.back().end = part.span.end;
        } else {
          spans.push_back(part.span);
        }
        break;
    }
    previous_match = part.match;
  }
  return spans;
}

void SplitWord(const Word& word, const Matcher& matcher, Behavior behavior, bool invert,
               std::vector<Word>& words) {
  for (const TextSpan& span : Join(Parts(word.text, matcher, invert), behavior)) {
    if (span.begin == span.end) continue;
    words.push_back(
        {word.text.substr(span.begin, span.end - span.begin), word.at_start && span.begin == 0});
  }
}

Step SplitStep(Matcher matcher, Behavior behavior, bool invert = false) {
  return [matcher = std::move(matcher), behavior, invert](const std::vector<Word>& words) {
    std::vector<Word> split;
    for (const Word& word : words) SplitWord(word, matcher, behavior, invert, split);
    return split;
  };
}

Step MapStep(std::function<void(Word&)> change) {
  return [change = std::move(change)](std::vector<Word> words) {
    for (Word& word : words) change(word);
    return words;
  };
}

Matcher RegexMatcher(std::string_view pattern) {
  return [regex = Regex(pattern)](std::string_view text) { return regex.FindAll(text); };
}

using Steps = std::vector<Step>;

void AddByteLevel(const Json& config, Steps& steps) {
  if (BoolField(config, "add_prefix_space", true)) {
    steps.push_back(MapStep([](Word& word) {
      if (!word.text.starts_with(' ')) word.text.insert(0, 1, ' ');
    }));
  }
  if (BoolField(config, "use_regex", true))
    steps.push_back(SplitStep(RegexMatcher(kGpt2Pattern), Behavior::kIsolated));
  steps.push_back(MapStep([](Word& word) { word.text = BytesToCharacters(word.text); }));
}

void AddSplit(const Json& config, Steps& steps) {
  steps.push_back(SplitStep(MatcherFromJson(Member(config, "pattern")),
                            BehaviorFromJson(config, "Removed"),
                            BoolField(config, "invert", false)));
}

void AddDigits(const Json& config, Steps& steps) {
  const bool individual = BoolField(config, "individual_digits", false);
  steps.push_back(SplitStep(CodePointMatcher(IsNumeric),
                            individual ? Behavior::kIsolated : Behavior::kContiguous));
}

void AddPunctuation(const Json& config, Steps& steps) {
  steps.push_back(SplitStep(CodePointMatcher(IsPunctuation), BehaviorFromJson(config, "Isolated")));
}

void AddWhitespace(const Json&, Steps& steps) {
  steps.push_back(SplitStep(RegexMatcher(R"(\w+|[^\w\s]+)"), Behavior::kRemoved, true));
}

void AddWhitespaceSplit(const Json&, Steps& steps) {
  steps.push_back(SplitStep(CodePointMatcher(IsWhitespace), Behavior::kRemoved));
}

void AddBert(const Json& config, Steps& steps) {
  AddWhitespaceSplit(config, steps);
  steps.push_back(SplitStep(CodePointMatcher(IsPunctuation), Behavior::kIsolated));
}

void AddMetaspace(const Json& config, Steps& steps) {
  const std::string mark = StringField(config, "replacement", "\u2581");
  // Files from before prepend_scheme say add_prefix_space.
  const bool legacy = BoolField(config, "add_prefix_space", true);
  const std::string scheme = StringField(config, "prepend_scheme", legacy ? "always" : "never");
  steps.push_back(MapStep([mark, scheme, spaces = LiteralMatcher(" ")](Word& word) {
    std::string text;
    size_t end = 0;
    for (const TextSpan& space : spaces(word.text)) {
      text.append(word.text, end, space.begin - end).append(mark);
      end = space.end;
    }
    text.append(word.text, end);
    const bool prepend = scheme == "always" || (scheme == "first" && word.at_start);
    word.text = prepend && !text.starts_with(mark) ? mark + text : text;
  }));
  if (BoolField(config, "split", true))
    steps.push_back(SplitStep(LiteralMatcher(mark), Behavior::kMergedWithNext));
}

void AddCharDelimiterSplit(const Json& config, Steps& steps) {
  steps.push_back(SplitStep(LiteralMatcher(StringField(config, "delimiter")), Behavior::kRemoved));
}

void AddSteps(const Json& config, Steps& steps) {
  static const std::map<std::string, void (*)(const Json&, Steps&), std::less<>> types = {
      {"ByteLevel", AddByteLevel},
      {"Split", AddSplit},
      {"Digits", AddDigits},
      {"Punctuation", AddPunctuation},
      {"Whitespace", AddWhitespace},
      {"WhitespaceSplit", AddWhitespaceSplit},
      {"BertPreTokenizer", AddBert},
      {"Metaspace", AddMetaspace},
      {"CharDelimiterSplit", AddCharDelimiterSplit},
  };
  if (config.is_null()) return;
  const std::string type = TypeField(config, "pre_tokenizer");
  if (type == "Sequence") {
    for (const Json& inner : ArrayField(config, "pretokenizers")) AddSteps(inner, steps);
    return;
  }
  const auto known = types.find(type);
  if (known == types.end()) {
    throw Error(ErrorCode::kUnsupported, {.subject = "pre_tokenizer"},
                "the type \"" + Printable(type) +
                    "\" is not supported; name the pre-tokenizer with --pre NAME");
  }
  known->second(config, steps);
}

}  // namespace

PreTokenizer::PreTokenizer(const Json& config) { AddSteps(config, steps_); }

std::vector<Word> PreTokenizer::Split(Word text) const {
  std::vector<Word> words = {std::move(text)};
  for (const auto& step : steps_) words = step(std::move(words));
  return words;
}

}  // namespace quern::converters
