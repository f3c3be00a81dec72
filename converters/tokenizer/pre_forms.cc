#include "converters/tokenizer/pre_forms.h"

#include <algorithm>
#include <string>

#include "converters/tokenizer/pre_rules.h"

namespace quern::converters {
namespace {

using Kind = PreStep::Kind;

#define QUERN_LLAMA3(digits)                                              \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" digits \
  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define QUERN_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define QUERN_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define QUERN_CASED(tail)                                      \
  R"([^\r\n\p{L}\p{N}]?)" QUERN_UPPER "*" QUERN_LOWER "+" tail \
  "|"                                                          \
  R"([^\r\n\p{L}\p{N}]?)" QUERN_UPPER "+" QUERN_LOWER "*" tail
#define QUERN_CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define QUERN_TAIL R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"

constexpr PreStep kGpt2[] = {{Kind::kGpt2}};
constexpr PreStep kSmolLm[] = {{Kind::kDigits}, {Kind::kGpt2}};
constexpr PreStep kLlama3[] = {{Kind::kSplit, QUERN_LLAMA3("{1,3}")}, {Kind::kBytes}};
constexpr PreStep kQwen2[] = {{Kind::kSplit, QUERN_LLAMA3("")}, {Kind::kBytes}};
constexpr PreStep kTekken[] = {{Kind::kSplit, QUERN_CASED("") R"(|\p{N})" QUERN_TAIL},
                               {Kind::kBytes}};
constexpr PreStep kGpt4o[] = {
    {Kind::kSplit, QUERN_CASED(QUERN_CONTRACTION) R"(|\p{N}{1,3})" QUERN_TAIL}, {Kind::kBytes}};
constexpr PreStep kDeepSeekCoder[] = {{Kind::kSplit, "[\\r\\n]"},
                                      {Kind::kSplit, R"(\s?\p{L}+)"},
                                      {Kind::kSplit, R"(\s?\p{P}+)"},
                                      {Kind::kSplit, "[一-龥ࠀ-一가-퟿]+"},
                                      {Kind::kDigits},
                                      {Kind::kBytes}};
constexpr PreStep kDeepSeek3[] = {
    {Kind::kSplit, R"(\p{N}{1,3})"},
    {Kind::kSplit, "[一-龥぀-ゟ゠-ヿ]+"},
    {Kind::kSplit,
     R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {Kind::kBytes}};
constexpr PreStep kFalcon[] = {
    {Kind::kPunctuation}, {Kind::kGpt2}, {Kind::kDigitRuns}, {Kind::kSplit, "[0-9][0-9][0-9]"}};
constexpr PreStep kBloom[] = {{Kind::kSplit, R"( ?[^(\s|[.,!?…。，、।۔،])]+)"}, {Kind::kBytes}};

constexpr PreForm kForms[] = {
    {"gpt-2", "", "", kGpt2},
    {"olmo", "", "NFC", kGpt2},
    {"smollm", "", "", kSmolLm},
    {"command-r", "", "NFC", kSmolLm},
    {"dbrx", "llama-bpe", "", kLlama3},
    {"qwen2", "", "NFC", kQwen2},
    {"qwen2", "", "", kQwen2},
    {"tekken", "tekken", "", kTekken},
    {"gpt-4o", "", "", kGpt4o},
    {"deepseek-coder", "", "", kDeepSeekCoder},
    {"deepseek-v3", "", "", kDeepSeek3},
    {"falcon", "", "", kFalcon},
    {"bloom", "", "", kBloom},
};

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json JsonOf(const PreStep& step) {
  switch (step.kind) {
    case Kind::kSplit:
      return {{"type", "Split"},
              {"pattern", {{"Regex", step.pattern}}},
              {"behavior", "Isolated"},
              {"invert", false}};
    case Kind::kDigits:
    case Kind::kDigitRuns:
      return {{"type", "Digits"}, {"individual_digits", step.kind == Kind::kDigits}};
    case Kind::kPunctuation:
      return {{"type", "Punctuation"}, {"behavior", "Contiguous"}};
    case Kind::kGpt2:
    case Kind::kBytes:
      return ByteLevel(step.kind == Kind::kGpt2);
  }
  return nullptr;
}

bool Lists(std::string_view names, std::string_view name) {
  return !name.empty() &&
         (" " + std::string(names) + " ").find(" " + std::string(name) + " ") != std::string::npos;
}

// The form for a name of `rule`: the one of the name itself before one that splits equally.
const PreForm* FormFor(const PreRule& rule, std::string_view name) {
  const auto of = [&](std::string_view names) {
    const auto* at = std::find_if(std::begin(kForms), std::end(kForms), [&](const PreForm& form) {
      return Lists(names, rule.ignore_merges ? form.ignore_merges_name : form.name);
    });
    return at == std::end(kForms) ? nullptr : at;
  };
  const PreForm* own = of(name);
  return own != nullptr ? own : of(rule.names);
}

}  // namespace

std::span<const PreForm> PreForms() { return kForms; }

PreJson JsonOf(const PreForm& form) {
  PreJson json;
  if (!form.normalizer.empty()) json.normalizer = {{"type", form.normalizer}};
  if (form.steps.size() == 1) {
    json.pre_tokenizer = JsonOf(form.steps.front());
    return json;
  }
  Json steps = Json::array();
  for (const PreStep& step : form.steps) steps.push_back(JsonOf(step));
  json.pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
  return json;
}

std::optional<PreJson> JsonOfPre(std::string_view name) {
  const PreRule* rule = FindPreRule(name);
  if (rule == nullptr || rule->raw_text) return std::nullopt;
  PreJson json;
  if (const PreForm* form = FormFor(*rule, name)) {
    json = JsonOf(*form);
  } else {
    Json steps = Json::array();
    for (const std::string_view pattern : rule->patterns) {
      steps.push_back(JsonOf(PreStep{Kind::kSplit, pattern}));
    }
    steps.push_back(ByteLevel(false));
    json.pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
  }
  json.ignore_merges = rule->ignore_merges;
  return json;
}

}  // namespace quern::converters
