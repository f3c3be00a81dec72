#include "converters/tokenizer/pre_type.h"

#include <fmt/format.h>

#include <optional>

#include "converters/tokenizer/hf_encoder.h"
#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/pre_hashes.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

using formats::huggingface::TokenizerJson;

// Known forms. The patterns are those of the families' tokenizer.json files, as llama.cpp's
// src/llama-vocab.cpp quotes them; the name is of a family whose expressions llama.cpp splits by.
#define QUERN_LLAMA3(digits)                                              \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" digits \
  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define QUERN_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define QUERN_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define QUERN_CASED(tail)                                      \
  R"([^\r\n\p{L}\p{N}]?)" QUERN_UPPER "*" QUERN_LOWER "+" tail \
  "|"                                                          \
  R"([^\r\n\p{L}\p{N}]?)" QUERN_UPPER "+" QUERN_LOWER "*" tail
#define QUERN_SPLIT(pattern) "Split(Isolated, " pattern "), "
#define QUERN_BYTES "ByteLevel(prefix=0, regex=0)"
#define QUERN_GPT2 "ByteLevel(prefix=0, regex=1)"
#define QUERN_CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define QUERN_TAIL R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"

struct KnownForm {
  std::string_view form;
  std::string_view name;
  std::string_view ignore_merges_name;  // where the model has ignore_merges
};

constexpr KnownForm kKnownForms[] = {
    {"none | " QUERN_GPT2, "gpt-2", ""},
    {"NFC | " QUERN_GPT2, "olmo", ""},
    {"none | Digits(individual=1), " QUERN_GPT2, "smollm", ""},
    {"NFC | Digits(individual=1), " QUERN_GPT2, "command-r", ""},
    {"none | " QUERN_SPLIT(QUERN_LLAMA3("{1,3}")) QUERN_BYTES, "dbrx", "llama-bpe"},
    {"none | " QUERN_SPLIT(QUERN_LLAMA3("")) QUERN_BYTES, "qwen2", ""},
    {"NFC | " QUERN_SPLIT(QUERN_LLAMA3("")) QUERN_BYTES, "qwen2", ""},
    {"none | " QUERN_SPLIT(QUERN_CASED("") R"(|\p{N})" QUERN_TAIL) QUERN_BYTES, "tekken", "tekken"},
    {"none | " QUERN_SPLIT(QUERN_CASED(QUERN_CONTRACTION) R"(|\p{N}{1,3})" QUERN_TAIL) QUERN_BYTES,
     "gpt-4o", ""},
    {"none | " QUERN_SPLIT("[\\r\\n]") QUERN_SPLIT(R"(\s?\p{L}+)") QUERN_SPLIT(R"(\s?\p{P}+)")
         QUERN_SPLIT("[一-龥ࠀ-一가-퟿]+") "Digits(individual=1), " QUERN_BYTES,
     "deepseek-coder", ""},
    {"none | " QUERN_SPLIT(R"(\p{N}{1,3})") QUERN_SPLIT("[一-龥぀-ゟ゠-ヿ]+") QUERN_SPLIT(
         R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")
         QUERN_BYTES,
     "deepseek-v3", ""},
    {"none | Punctuation(Contiguous), " QUERN_GPT2
     ", Digits(individual=0), Split(Isolated, [0-9][0-9][0-9])",
     "falcon", ""},
    {"none | " QUERN_SPLIT(R"( ?[^(\s|[.,!?…。，、।۔،])]+)") QUERN_BYTES, "bloom", ""},
};

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

std::optional<std::string> ByForm(const TokenizerJson& tokenizer) {
  std::string form = DescribeSteps(tokenizer);
  ReplaceAll(form, fmt::format("Split(Isolated, {}), {}", kGpt2Pattern, QUERN_BYTES), QUERN_GPT2);
  for (const KnownForm& known : kKnownForms) {
    if (known.form != form) continue;
    if (!tokenizer.model.ignore_merges) return std::string(known.name);
    if (!known.ignore_merges_name.empty()) return std::string(known.ignore_merges_name);
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
