#include "quant/imatrix.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "quant/recipe_rules.h"

namespace quern::quant {
namespace {

// llama.cpp's overrides of metadata hold 128 bytes, the last of them zero.
std::string Cut(std::string_view text) { return std::string(text.substr(0, 127)); }

bool ContainsOneOf(std::string_view name, std::span<const std::string> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const std::string& part) { return name.find(part) != name.npos; });
}

}  // namespace

std::span<const float> ImportanceOf(const Imatrix& imatrix, const RecipeTensor& tensor,
                                    const TypeChoice& choice) {
  std::span<const float> values;
  if (const auto entry = imatrix.entries.find(tensor.name); entry != imatrix.entries.end()) {
    const size_t dimensions = tensor.shape.size();
    const uint64_t columns = dimensions > 0 ? tensor.shape[dimensions - 1] : 1;
    const uint64_t matrices = dimensions > 2 ? tensor.shape[dimensions - 3] : 1;
    const auto wanted = CheckedMul(columns, matrices);
    if (wanted && entry->second.values.size() == *wanted) {
      values = entry->second.values;
    } else if (RoleOf(tensor.name) != Role::kTokenEmbedding) {
      throw Error(ErrorCode::kMismatch, {"", {}, tensor.name},
                  fmt::format("the importance matrix has {} values for it where {} x {} are "
                              "needed; make one from this very model",
                              entry->second.values.size(), matrices, columns));
    }
  }
  if (values.empty() && choice.requires_imatrix) {
    throw Error(ErrorCode::kMissing, {"", {}, tensor.name},
                fmt::format("{} is worthless without importance values, and the importance matrix "
                            "has none for it; use more text or a larger type",
                            Name(choice.type)));
  }
  return values;
}

void FilterImatrix(std::span<const std::string> include, std::span<const std::string> exclude,
                   Imatrix& imatrix) {
  if (!include.empty() && !exclude.empty()) {
    throw Error(ErrorCode::kUsage, {},
                "--include-weights and --exclude-weights contradict each other; use one of them");
  }
  std::erase_if(imatrix.entries, [&](const auto& entry) {
    return ContainsOneOf(entry.first, exclude) ||
           (!include.empty() && !ContainsOneOf(entry.first, include));
  });
}

void AddImatrixMetadata(std::string_view file, const Imatrix& imatrix, Metadata& metadata) {
  metadata.SetLast("quantize.imatrix.file", Cut(file));
  if (!imatrix.datasets.empty()) {
    metadata.SetLast("quantize.imatrix.dataset", Cut(imatrix.datasets.front()));
  }
  metadata.SetLast("quantize.imatrix.entries_count", static_cast<uint32_t>(imatrix.entries.size()));
  if (imatrix.chunk_count > 0) {
    metadata.SetLast("quantize.imatrix.chunks_count", imatrix.chunk_count);
  }
}

}  // namespace quern::quant
