#include "formats/gguf/gguf_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "formats/core/error.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/gguf/gguf_split.h"
#include "formats/huggingface/side_files.h"

namespace quern::formats::gguf {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kWeightEndings[] = {".safetensors", ".bin", ".pth", ".pt"};

std::string Lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool IsModelFile(const std::string& name) {
  const std::string lower = Lower(name);
  return !name.starts_with('.') && lower.ends_with(".gguf") && lower.find("mmproj") == lower.npos &&
         lower.find("imatrix") == lower.npos;
}

// The first file of each model, by the prefix of its shards or its own name.
std::map<std::string, std::string> ModelsAmong(const std::set<std::string>& files) {
  std::map<std::string, std::string> models;
  for (const std::string& name : files) {
    if (!IsModelFile(name)) continue;
    const auto shard = ParseShardName(name);
    models.emplace(shard ? fmt::format("{}-of-{}", shard->prefix, shard->count) : name, name);
  }
  return models;
}

bool Matches(const Probe& probe) {
  if (!probe.is_folder) return false;
  const auto files = huggingface::ListFiles(probe.path);
  const auto is_weights = [](const std::string& name) {
    return std::any_of(std::begin(kWeightEndings), std::end(kWeightEndings),
                       [&](std::string_view ending) { return name.ends_with(ending); });
  };
  return std::none_of(files.begin(), files.end(), is_weights) && !ModelsAmong(files).empty();
}

}  // namespace

fs::path ModelInFolder(const fs::path& folder) {
  const auto models = ModelsAmong(huggingface::ListFiles(folder));
  if (models.size() == 1) return folder / models.begin()->second;
  const Where where{folder.string(), {}, {}};
  if (models.empty()) throw Error(ErrorCode::kMissing, where, "this folder holds no GGUF model");
  std::vector<std::string> names;
  for (const auto& [key, name] : models) names.push_back(Printable(name));
  throw Error(ErrorCode::kUsage, where,
              fmt::format("this folder holds {} GGUF models; name one of them: {}", names.size(),
                          fmt::join(names, ", ")));
}

constinit const FormatInfo kFolderFormat = {
    "gguf-folder", "a folder with one GGUF model, as LM Studio and Jan keep them", Matches,
    [](const fs::path& path, const OpenOptions&) -> std::unique_ptr<ModelSource> {
      return std::make_unique<GgufSource>(ModelInFolder(path));
    }};

}  // namespace quern::formats::gguf
