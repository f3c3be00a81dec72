#include "formats/safetensors/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/core/json.h"
#include "formats/safetensors/dtypes.h"
#include "formats/safetensors/safetensors_reader.h"

namespace quern::formats::safetensors {
namespace {

constexpr uint64_t kAlignment = 8;

std::string_view DtypeOf(const NamedTensor& tensor) {
  for (const auto& [name, type] : kDtypes) {
    if (type == tensor.type) return name;
  }
  throw Error(
      ErrorCode::kUnsupported, {{}, {}, tensor.name},
      fmt::format("safetensors has no type {}; choose F32, F16 or BF16", quern::Name(tensor.type)));
}

uint64_t BytesOf(const NamedTensor& tensor) {
  const auto bytes = TensorBytes(tensor.type, tensor.shape);
  if (!bytes) {
    throw Error(ErrorCode::kBadShape, {{}, {}, tensor.name},
                "the product of the dimensions overflows; the model is damaged");
  }
  return *bytes;
}

void RequireUniqueNames(std::span<const NamedTensor> tensors) {
  std::set<std::string_view> names;
  for (const NamedTensor& tensor : tensors) {
    if (names.insert(tensor.name).second) continue;
    throw Error(ErrorCode::kDuplicate, {{}, {}, tensor.name},
                "two tensors have this name; give them different ones");
  }
}

// Which tensors each file gets.
std::vector<std::vector<size_t>> CutIntoShards(std::span<const NamedTensor> tensors,
                                               uint64_t shard_bytes) {
  std::vector<std::vector<size_t>> shards(1);
  uint64_t total = 0;
  uint64_t used = 0;  // of the last shard
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t bytes = BytesOf(tensors[i]);
    const auto sum = CheckedAdd(total, bytes);
    if (!sum) {
      throw Error(ErrorCode::kBadShape, {{}, {}, tensors[i].name},
                  "the tensors are larger than any disk; the model is damaged");
    }
    total = *sum;
    if (!shards.back().empty() && (used > shard_bytes || bytes > shard_bytes - used)) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(i);
    used += bytes;
  }
  return shards;
}

std::vector<uint8_t> HeaderOf(std::string json) {
  json.resize(AlignUp(json.size(), kAlignment), ' ');
  if (json.size() > kMaxHeaderBytes) {
    throw Error(ErrorCode::kLimitExceeded, {{}, {}, "header"},
                fmt::format("{} bytes of header; readers accept {}. Choose a smaller shard size",
                            json.size(), kMaxHeaderBytes));
  }
  std::vector<uint8_t> header;
  for (size_t i = 0; i < 8; ++i) header.push_back(static_cast<uint8_t>(json.size() >> (8 * i)));
  header.insert(header.end(), json.begin(), json.end());
  return header;
}

PlacedFile Place(std::span<const NamedTensor> tensors, std::vector<size_t> members) {
  std::sort(members.begin(), members.end(), [&](size_t a, size_t b) {
    const auto width = [&](size_t i) { return Info(tensors[i].type).block_bytes; };
    if (width(a) != width(b)) return width(a) > width(b);
    return tensors[a].name < tensors[b].name;
  });
  PlacedFile file;
  std::string json = R"({"__metadata__":{"format":"pt"})";
  uint64_t end = 0;
  for (const size_t i : members) {
    const NamedTensor& tensor = tensors[i];
    const uint64_t bytes = BytesOf(tensor);
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        Json(tensor.name).dump(), DtypeOf(tensor), fmt::join(tensor.shape, ","),
                        end, end + bytes);
    file.tensors.push_back({i, end, bytes});
    end += bytes;
  }
  file.header = HeaderOf(json + "}");
  for (PlacedTensor& placed : file.tensors) placed.offset += file.header.size();
  file.bytes = file.header.size() + end;
  return file;
}

std::string IndexOf(std::span<const NamedTensor> tensors, const std::vector<PlacedFile>& files) {
  Json map = Json::object();
  uint64_t total = 0;
  for (const PlacedFile& file : files) {
    for (const PlacedTensor& placed : file.tensors) {
      map[tensors[placed.tensor].name] = file.name;
      total += placed.bytes;
    }
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

}  // namespace

Layout LayOut(std::span<const NamedTensor> tensors, uint64_t shard_bytes) {
  RequireUniqueNames(tensors);
  const auto shards = CutIntoShards(tensors, shard_bytes);
  Layout layout;
  for (size_t i = 0; i < shards.size(); ++i) {
    PlacedFile file = Place(tensors, shards[i]);
    file.name = shards.size() == 1
                    ? "model.safetensors"
                    : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    layout.files.push_back(std::move(file));
  }
  if (layout.files.size() > 1) layout.index = IndexOf(tensors, layout.files);
  return layout;
}

}  // namespace quern::formats::safetensors
