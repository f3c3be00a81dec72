#include "formats/huggingface/folder_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/json.h"
#include "formats/huggingface/side_files.h"
#include "formats/lfs/lfs_pointer.h"

namespace quern::formats::huggingface {
namespace {

namespace fs = std::filesystem;

// One family of weight files; see the rules in the header.
struct WeightFiles {
  std::string_view index;   // empty: has none
  std::string_view single;  // empty: has none
  std::string_view prefix;
  std::string_view suffix;
};
constexpr std::array kWeightFiles = {
    WeightFiles{"model.safetensors.index.json", "model.safetensors", "model", ".safetensors"},
    WeightFiles{"pytorch_model.bin.index.json", "pytorch_model.bin", "pytorch_model", ".bin"},
    WeightFiles{"", "", "", ".safetensors"},
};

// A folder without weights is one of ours if it has one of these.
constexpr std::array<std::string_view, 5> kTellingFiles = {
    "config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
};

constexpr size_t kNamesInError = 5;

struct Weights {
  std::string index;               // name of the index file, or empty
  std::vector<std::string> files;  // without an index: by name
};

Weights FindWeights(const std::set<std::string>& present) {
  for (const WeightFiles& family : kWeightFiles) {
    if (present.contains(std::string(family.index))) return {std::string(family.index), {}};
    if (present.contains(std::string(family.single))) return {{}, {std::string(family.single)}};
    std::vector<std::string> files;
    for (const std::string& name : present) {
      if (name.starts_with(family.prefix) && name.ends_with(family.suffix) &&
          !name.starts_with('.')) {
        files.push_back(name);
      }
    }
    if (!files.empty()) return {{}, files};
  }
  return {};
}

// "a, b, c and 12 more"
std::string Some(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesInError);
  std::string text;
  for (size_t i = 0; i < shown; ++i) text += (i == 0 ? "" : ", ") + Printable(names[i]);
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

bool StaysInFolder(const fs::path& path) {
  return path.is_relative() && std::find(path.begin(), path.end(), "..") == path.end();
}

// The index's shards, in the order of their names. Throws one kMissing for all that are absent.
std::vector<std::string> ShardsOf(const WeightMap& index, const fs::path& folder,
                                  const std::string& index_path) {
  std::set<std::string> names;
  for (const auto& [tensor, shard] : index) names.insert(shard);
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    std::error_code ignored;
    if (!fs::exists(folder / name, ignored)) missing.push_back(name);
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::kMissing, {index_path, {}, {}},
                fmt::format("{} of the {} weight files that it names are missing ({}); the "
                            "download is incomplete, download them again",
                            missing.size(), names.size(), Some(missing)));
  }
  return {names.begin(), names.end()};
}

WeightMap ReadIndex(const fs::path& path) {
  return ParseIndex(ReadTextFile(lfs::Resolve(path), kMaxJsonFileBytes), path.string());
}

bool Matches(const Probe& probe) {
  if (!probe.is_folder) return false;
  const auto present = ListFiles(probe.path);
  const Weights weights = FindWeights(present);
  return !weights.index.empty() || !weights.files.empty() ||
         std::any_of(kTellingFiles.begin(), kTellingFiles.end(),
                     [&](std::string_view name) { return present.contains(std::string(name)); });
}

}  // namespace

WeightMap ParseIndex(std::string_view json, std::string_view file) {
  const auto fail = [&](ErrorCode code, std::string subject, std::string_view message) {
    return Error(code, {std::string(file), {}, std::move(subject)},
                 fmt::format("{}; download the index again", message));
  };
  Json root;
  try {
    root = ParseJson(json, file);
  } catch (const Error& error) {
    throw Error(error.code(), error.where(),
                error.message() +
                    "; the index is broken, download it again, or move it away where "
                    "one model.safetensors holds everything");
  }
  const Json* map = root.is_object() && root.contains("weight_map") ? &root["weight_map"] : nullptr;
  if (map == nullptr) throw fail(ErrorCode::kMissing, "weight_map", "the index has none");
  if (!map->is_object()) throw fail(ErrorCode::kBadType, "weight_map", "is no JSON object");
  WeightMap index;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string()) throw fail(ErrorCode::kBadType, tensor, "the shard is no file name");
    auto name = shard.get<std::string>();
    if (name.empty() || name.find('\0') != name.npos) {
      throw fail(ErrorCode::kBadValue, tensor, "the shard has no usable file name");
    }
    if (!StaysInFolder(name)) {
      throw Error(ErrorCode::kUnsafe, {std::string(file), {}, tensor},
                  fmt::format("the shard \"{}\" is outside the model's folder; an honest index "
                              "names files beside it only",
                              Printable(name)));
    }
    index.emplace(tensor, std::move(name));
  }
  return index;
}

FolderSource::FolderSource(const fs::path& path, const FolderOptions& options) : ModelSource(path) {
  side_files_ = FindSideFiles(path);
  config_ = ReadConfig(side_files_);
  if (!options.weights) return;
  const Weights weights = FindWeights(ListFiles(path));
  if (weights.index.empty()) {
    for (const std::string& name : weights.files) OpenShard(name, options.shards);
    return;
  }
  const fs::path index_path = path / weights.index;
  const WeightMap index = ReadIndex(index_path);
  OpenOptions shards = options.shards;
  if (shards.root.empty()) shards.root = kWholeFile;
  for (const std::string& name : ShardsOf(index, path, index_path.string())) {
    OpenShard(name, shards);
  }
  CheckAgainst(index, index_path.string());
}

void FolderSource::OpenShard(const std::string& name, const OpenOptions& options) {
  const fs::path shard_path = path() / name;
  // Refuses folders, which OpenModel would take (and take again, for a link to this one).
  File::Open(shard_path);
  auto source = OpenModel(shard_path, options);
  if (source->layout() != layout_) {
    throw Error(ErrorCode::kUnexpected, {shard_path.string(), {}, {}},
                fmt::format("a file of the format \"{}\" under a shard's name; name that file "
                            "itself to use it",
                            source->format()));
  }
  const auto first_file = static_cast<uint32_t>(files_.size());
  for (const File& file : source->files()) {
    files_.push_back(File::Open(file.path()));
    shard_of_file_.push_back(static_cast<uint32_t>(shards_.size()));
  }
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& tensor : source->tensors()) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->name < b->name; });
  for (const TensorInfo* tensor : order) {
    if (const TensorInfo* other = FindTensor(tensor->name)) {
      throw Error(ErrorCode::kDuplicate, {shard_path.string(), {}, tensor->name},
                  fmt::format("the tensor is in {} as well; it is ambiguous which counts: remove "
                              "the file that does not belong to the model",
                              files_[other->file].path()));
    }
    TensorInfo here = *tensor;
    here.file += first_file;
    AddTensor(std::move(here));
  }
  for (const auto& [key, value] : source->metadata().entries()) {
    if (!metadata_.Has(key)) metadata_.Set(key, value);
  }
  shards_.push_back({name, std::move(source)});
}

void FolderSource::CheckAgainst(const WeightMap& index, const std::string& index_path) const {
  std::vector<std::string> missing;
  for (const auto& [name, shard] : index) {
    const TensorInfo* tensor = FindTensor(name);
    if (tensor == nullptr) {
      missing.push_back(name);
    } else if (ShardOf(*tensor).name != shard) {
      throw Error(ErrorCode::kMismatch, {index_path, {}, name},
                  fmt::format("the index puts this tensor into {} and it is in {}; index and "
                              "shards are of different versions, download them again",
                              Printable(shard), Printable(ShardOf(*tensor).name)));
    }
  }
  if (!missing.empty()) {
    throw Error(ErrorCode::kMissing, {index_path, {}, missing.front()},
                fmt::format("{} tensors that the index names are in no shard ({}); index and "
                            "shards are of different versions, download them again",
                            missing.size(), Some(missing)));
  }
  std::vector<std::string> extra;
  for (const TensorInfo& tensor : tensors()) {
    if (!index.contains(tensor.name)) extra.push_back(tensor.name);
  }
  if (!extra.empty()) {
    throw Error(ErrorCode::kUnexpected, {index_path, {}, extra.front()},
                fmt::format("{} tensors of the shards are not in the index ({}); index and shards "
                            "are of different versions, download them again",
                            extra.size(), Some(extra)));
  }
}

const FolderSource::Shard& FolderSource::ShardOf(const TensorInfo& tensor) const {
  return shards_[shard_of_file_[tensor.file]];
}

void FolderSource::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  const ModelSource& shard = *ShardOf(tensor).source;
  shard.Read(*shard.FindTensor(tensor.name), offset, out);
}

void FolderSource::WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const {
  const ModelSource& shard = *ShardOf(tensor).source;
  shard.WillNeed(*shard.FindTensor(tensor.name), offset, bytes);
}

constinit const FormatInfo kFormat = {
    "huggingface",
    "a Hugging Face folder: config.json, tokenizer files, safetensors or .bin shards", Matches,
    [](const fs::path& path, const OpenOptions& options) -> std::unique_ptr<ModelSource> {
      return std::make_unique<FolderSource>(path, FolderOptions{.shards = options});
    }};

}  // namespace quern::formats::huggingface
