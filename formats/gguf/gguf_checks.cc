#include "formats/gguf/gguf_checks.h"

#include <fmt/format.h>

#include <array>
#include <limits>

#include "formats/core/error.h"

namespace quern::formats::gguf {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";
constexpr std::string_view kIdSuffix = "_token_id";
constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kPaddingKey = "tokenizer.ggml.padding_token_id";

struct ArrayRule {
  std::string_view key;
  ValueType type, or_type;
  bool per_token;
};
constexpr std::array kArrayRules = {
    ArrayRule{kTokensKey, ValueType::kString, ValueType::kString, true},
    ArrayRule{"tokenizer.ggml.scores", ValueType::kFloat32, ValueType::kFloat32, true},
    ArrayRule{"tokenizer.ggml.token_type", ValueType::kInt32, ValueType::kUint32, true},
    ArrayRule{"tokenizer.ggml.merges", ValueType::kString, ValueType::kString, false},
};

void CheckArray(const ArrayRule& rule, const Metadata& metadata, const Array* tokens,
                const std::string& path) {
  const Value* value = metadata.Find(rule.key);
  if (!value) return;
  const Where where{path, {}, std::string(rule.key)};
  const auto* array = std::get_if<Array>(value);
  if (!array || (array->type() != rule.type && array->type() != rule.or_type)) {
    throw Error(ErrorCode::kBadType, where,
                fmt::format("is {}{}; it must be an array of {}, convert the model again",
                            array ? "an array of " : "of type ",
                            ValueTypeName(array ? array->type() : TypeOf(*value)),
                            ValueTypeName(rule.type)));
  }
  if (!rule.per_token) return;
  if (!tokens) {
    throw Error(
        ErrorCode::kMissing, where,
        fmt::format("there is no {} to which it belongs; convert the model again", kTokensKey));
  }
  if (array->size() != tokens->size()) {
    throw Error(ErrorCode::kMismatch, where,
                fmt::format("has {} items for {} tokens; convert the model again", array->size(),
                            tokens->size()));
  }
}

bool IsNone(std::string_view key, const Value& value, int64_t id) {
  return key == kPaddingKey && (id == -1 || (TypeOf(value) == ValueType::kUint32 &&
                                             id == std::numeric_limits<uint32_t>::max()));
}

void CheckId(const Metadata::Entry& entry, uint64_t token_count, const Metadata& metadata,
             const std::string& path) {
  const auto& [key, value] = entry;
  const Where where{path, {}, key};
  const auto id = metadata.GetInteger(key);
  if (!id && TypeOf(value) != ValueType::kUint64) {
    throw Error(ErrorCode::kBadType, where,
                fmt::format("is of type {}; it must be an integer, convert the model again",
                            ValueTypeName(TypeOf(value))));
  }
  if (id && IsNone(key, value, *id)) return;
  if (id && *id >= 0 && static_cast<uint64_t>(*id) < token_count) return;
  throw Error(ErrorCode::kBadValue, where,
              fmt::format("is {} and there are {} tokens; set the id of a token that exists",
                          id ? fmt::format("{}", *id) : "above 2^63", token_count));
}

}  // namespace

void CheckTokenizer(const Metadata& metadata, const std::string& path) {
  const auto* tokens = metadata.Get<Array>(kTokensKey);
  for (const auto& rule : kArrayRules) CheckArray(rule, metadata, tokens, path);
  if (!tokens) return;
  for (const auto& entry : metadata.entries()) {
    if (entry.first.starts_with(kPrefix) && entry.first.ends_with(kIdSuffix)) {
      CheckId(entry, tokens->size(), metadata, path);
    }
  }
}

}  // namespace quern::formats::gguf
