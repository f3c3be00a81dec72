#include <algorithm>
#include <limits>
#include <map>
#include <type_traits>
#include <variant>

#include "formats/core/error.h"
#include "quant/recipe.h"

namespace quern::quant {
namespace {

// An integer, or the first of an array with one per layer.
std::optional<int64_t> FirstInteger(const Metadata& metadata, const std::string& key) {
  const Array* array = metadata.Get<Array>(key);
  if (!array) return metadata.GetInteger(key);
  return std::visit(
      [](const auto& items) -> std::optional<int64_t> {
        using Items = std::decay_t<decltype(items)>;
        if constexpr (!std::is_same_v<Items, std::monostate>) {
          using Item = typename Items::value_type;
          if constexpr (std::is_integral_v<Item> && !std::is_same_v<Item, bool>) {
            if (!items.empty()) return static_cast<int64_t>(items.front());
          }
        }
        return std::nullopt;
      },
      array->items);
}

std::optional<uint32_t> Count(const Metadata& metadata, const std::string& key) {
  if (!metadata.Has(key)) return std::nullopt;
  const auto value = FirstInteger(metadata, key);
  if (!value) {
    throw Error(ErrorCode::kBadType, {"", {}, key},
                "this key must be an integer or an array of integers; correct the metadata");
  }
  if (*value < 0 || *value > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorCode::kBadValue, {"", {}, key},
                "this count is out of range; correct the metadata");
  }
  return static_cast<uint32_t>(*value);
}

// The file type whose base this is; of several, the one that llama.cpp's loader names.
uint32_t GuessedFileType(TensorType type) {
  switch (type) {
    case TensorType::kQ3_K:
      return FindFileType("Q3_K_M")->id;
    case TensorType::kQ4_K:
      return FindFileType("Q4_K_M")->id;
    case TensorType::kQ5_K:
      return FindFileType("Q5_K_M")->id;
    default:
      break;
  }
  const FileType* by_name = FindFileType(Name(type));
  return by_name ? by_name->id : 0;
}

constexpr uint32_t kGuessed = 1024;

}  // namespace

ModelFacts FactsFrom(const Metadata& metadata) {
  ModelFacts facts;
  facts.architecture = metadata.GetString("general.architecture").value_or("");
  const std::string prefix = facts.architecture + ".";
  facts.block_count = Count(metadata, prefix + "block_count").value_or(0);
  facts.head_count = Count(metadata, prefix + "attention.head_count").value_or(0);
  facts.head_count_kv =
      Count(metadata, prefix + "attention.head_count_kv").value_or(facts.head_count);
  facts.expert_count = Count(metadata, prefix + "expert_count").value_or(0);
  return facts;
}

uint32_t CopiedFileType(const Metadata& metadata, std::span<const RecipeTensor> tensors) {
  if (const auto id = metadata.GetInteger("general.file_type")) return static_cast<uint32_t>(*id);
  // The first type that reaches the largest count, in file order.
  std::map<TensorType, size_t> counts;
  size_t most = 0;
  TensorType type = TensorType::kF32;
  for (const RecipeTensor& tensor : tensors) {
    if (const size_t count = ++counts[tensor.type]; count > most) {
      most = count;
      type = tensor.type;
    }
  }
  return GuessedFileType(type) | kGuessed;
}

uint32_t DominantFileType(std::span<const RecipeTensor> tensors) {
  std::map<TensorType, uint64_t> bytes;
  for (const RecipeTensor& tensor : tensors) {
    bytes[tensor.type] += TensorBytes(tensor.type, tensor.shape).value_or(0);
  }
  // The first of equals, in the order of types.
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return GuessedFileType(most == bytes.end() ? TensorType::kF32 : most->first) | kGuessed;
}

}  // namespace quern::quant
