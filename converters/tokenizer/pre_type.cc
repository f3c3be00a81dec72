#include "converters/tokenizer/pre_type.h"

#include <fmt/format.h>

#include <optional>

#include "converters/tokenizer/hf_encoder.h"
#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/pre_forms.h"
#include "converters/tokenizer/pre_hashes.h"
#include "converters/tokenizer/pre_rules.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

using formats::huggingface::TokenizerJson;

constexpr std::string_view kBytesForm = "ByteLevel(prefix=0, regex=0)";
constexpr std::string_view kGpt2Form = "ByteLevel(prefix=0, regex=1)";

// GPT-2's expression as a Split of its own is the same as in ByteLevel.
void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

std::string DescribeSplit(const Json& step) {
  const Json& pattern = Member(step, "pattern");
  const Json& regex = Member(pattern, "Regex");
  const Json& text = regex.is_null() ? Member(pattern, "String") : regex;
  return fmt::format("Split({}{}, {})", StringField(step, "behavior"),
                     BoolField(step, "invert", false) ? ", inverted" : "",
                     text.is_string() ? text.get<std::string>() : text.dump());
}

std::string DescribeStep(const Json& step) {
  if (step.is_null()) return "none";
  const std::string type = TypeField(step, "tokenizer step");
  for (const char* list : {"normalizers", "pretokenizers"}) {
    if (type != "Sequence" || !step.contains(list)) continue;
    std::vector<std::string> inner;
    for (const Json& item : ArrayField(step, list)) inner.push_back(DescribeStep(item));
    return fmt::format("{}", fmt::join(inner, ", "));
  }
  if (type == "Split") return DescribeSplit(step);
  if (type == "ByteLevel") {
    return fmt::format("ByteLevel(prefix={:d}, regex={:d})",
                       BoolField(step, "add_prefix_space", true),
                       BoolField(step, "use_regex", true));
  }
  if (type == "Digits")
    return fmt::format("Digits(individual={:d})", BoolField(step, "individual_digits", false));
  if (type == "Punctuation")
    return fmt::format("Punctuation({})", StringField(step, "behavior", "Isolated"));
  return step.size() == 1 ? type : step.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string FormOf(const PreJson& json) {
  return DescribeStep(json.normalizer) + " | " + DescribeStep(json.pre_tokenizer);
}

std::optional<std::string> ByForm(const TokenizerJson& tokenizer) {
  std::string form = DescribeSteps(tokenizer);
  ReplaceAll(form, fmt::format("Split(Isolated, {}), {}", kGpt2Pattern, kBytesForm), kGpt2Form);
  for (const PreForm& known : PreForms()) {
    if (FormOf(JsonOf(known)) != form) continue;
    if (!tokenizer.model.ignore_merges) return std::string(known.name);
    if (!known.ignore_merges_name.empty()) return std::string(known.ignore_merges_name);
  }
  // Written by quern, from llama.cpp's expressions.
  for (const PreRule& rule : PreRules()) {
    const std::string_view name = rule.names.substr(0, rule.names.find(' '));
    const auto json = JsonOfPre(name);
    if (json && FormOf(*json) == form && json->ignore_merges == tokenizer.model.ignore_merges) {
      return std::string(name);
    }
  }
  return std::nullopt;
}

// The name for the first frame whose hash is known; else the likeliest hash.
struct HashResult {
  std::optional<std::string_view> name;
  std::string hash;
};

HashResult ByHash(const TransformersTokenizer& tokenizer) {
  const std::vector<TokenId> ids = HfEncoder(tokenizer.json).Encode(kPreCheckText, false);
  HashResult result;
  for (const SpecialFrame& frame : tokenizer.frames) {
    std::vector<TokenId> framed = frame.before;
    framed.insert(framed.end(), ids.begin(), ids.end());
    framed.insert(framed.end(), frame.after.begin(), frame.after.end());
    std::string hash = HashOfIds(framed);
    result.name = PreNameOfHash(hash);
    if (result.hash.empty()) result.hash = std::move(hash);
    if (result.name) break;
  }
  return result;
}

}  // namespace

std::string DescribeSteps(const TokenizerJson& tokenizer) {
  return DescribeStep(tokenizer.normalizer) + " | " + DescribeStep(tokenizer.pre_tokenizer);
}

std::string FindPreType(const TransformersTokenizer& tokenizer, std::vector<std::string>& notes) {
  const HashResult found = ByHash(tokenizer);
  if (found.name) return std::string(*found.name);
  if (const auto name = ByForm(tokenizer.json)) {
    notes.push_back(fmt::format(
        "tokenizer.ggml.pre is {}: the vocabulary is not one that llama.cpp knows (hash {}), its "
        "pre-tokenizer has the form of this family; --pre NAME overrides",
        *name, found.hash));
    return *name;
  }
  throw Error(ErrorCode::kUnsupported, {.subject = "tokenizer.ggml.pre"},
              fmt::format("the pre-tokenizer is not known (hash {}, form {}); name the one of "
                          "llama.cpp that fits with --pre NAME",
                          found.hash, Printable(DescribeSteps(tokenizer.json), 400)));
}

}  // namespace quern::converters
