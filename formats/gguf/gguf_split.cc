#include "formats/gguf/gguf_split.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "formats/core/error.h"

namespace quern::formats::gguf {
namespace {

constexpr std::string_view kExtension = ".gguf";
constexpr std::string_view kOf = "-of-";

// Takes the number at the end of `text` off it.
std::optional<uint32_t> TakeNumber(std::string_view& text) {
  const size_t begin = text.find_last_not_of("0123456789") + 1;
  const std::string_view digits = text.substr(begin);
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), number);
  if (error != std::errc() || end != digits.end()) return std::nullopt;
  text.remove_suffix(digits.size());
  return number;
}

bool TakeSuffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

int64_t GetKey(const Metadata& metadata, std::string_view key, int64_t max,
               const std::string& file) {
  const Where where{file, {}, std::string(key)};
  if (!metadata.Has(key)) {
    throw Error(
        ErrorCode::kMissing, where,
        "the file says that it is part of a split model and lacks this key; split it again");
  }
  const auto value = metadata.GetInteger(key);
  if (!value || *value < 0 || *value > max) {
    throw Error(ErrorCode::kBadValue, where,
                fmt::format("must be an integer from 0 to {}; split the model again", max));
  }
  return *value;
}

}  // namespace

std::string MakeShardName(const ShardName& name) {
  return fmt::format("{}-{:05}-of-{:05}{}", name.prefix, name.number, name.count, kExtension);
}

std::optional<ShardName> ParseShardName(std::string_view file_name) {
  std::string_view rest = file_name;
  if (!TakeSuffix(rest, kExtension)) return std::nullopt;
  const auto count = TakeNumber(rest);
  if (!count || !TakeSuffix(rest, kOf)) return std::nullopt;
  const auto number = TakeNumber(rest);
  if (!number || !TakeSuffix(rest, "-") || rest.empty()) return std::nullopt;
  const ShardName name{std::string(rest), *number, *count};
  if (*number < 1 || *number > *count || MakeShardName(name) != file_name) return std::nullopt;
  return name;
}

std::optional<SplitKeys> ReadSplitKeys(const Metadata& metadata, const std::string& file) {
  if (!metadata.Has(kSplitCountKey)) return std::nullopt;
  const int64_t count =
      GetKey(metadata, kSplitCountKey, std::numeric_limits<uint16_t>::max(), file);
  if (count < 2) return std::nullopt;
  const int64_t no = GetKey(metadata, kSplitNoKey, count - 1, file);
  const int64_t tensors =
      GetKey(metadata, kSplitTensorsKey, std::numeric_limits<int32_t>::max(), file);
  return SplitKeys{static_cast<uint32_t>(no), static_cast<uint32_t>(count),
                   static_cast<uint64_t>(tensors)};
}

void SetSplitKeys(const SplitKeys& keys, SplitKeyOrder order, Metadata& metadata) {
  const auto count = static_cast<uint16_t>(keys.count);
  metadata.SetLast(std::string(kSplitNoKey), static_cast<uint16_t>(keys.no));
  if (order == SplitKeyOrder::kConverter) metadata.SetLast(std::string(kSplitCountKey), count);
  metadata.SetLast(std::string(kSplitTensorsKey), static_cast<int32_t>(keys.tensors));
  if (order == SplitKeyOrder::kGgufSplit) metadata.SetLast(std::string(kSplitCountKey), count);
}

}  // namespace quern::formats::gguf
