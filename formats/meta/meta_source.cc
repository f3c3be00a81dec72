#include "formats/meta/meta_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/json.h"
#include "formats/huggingface/side_files.h"

namespace quern::formats::meta {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kParams = "params.json";
constexpr std::string_view kPrefix = "consolidated.";
constexpr std::string_view kSuffix = ".pth";

// The number in "consolidated.07.pth".
std::optional<size_t> PartNumber(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  if (name.size() <= kPrefix.size() + kSuffix.size()) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  size_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

bool IsHuggingFaceWeights(std::string_view name) {
  return (name.starts_with("model") && name.find(".safetensors") != name.npos) ||
         (name.starts_with("pytorch_model") && name.find(".bin") != name.npos);
}

bool Matches(const Probe& probe) {
  if (!probe.is_folder) return false;
  const std::set<std::string> present = huggingface::ListFiles(probe.path);
  return present.contains(std::string(kParams)) &&
         std::any_of(present.begin(), present.end(),
                     [](const std::string& name) { return PartNumber(name).has_value(); }) &&
         std::none_of(present.begin(), present.end(), IsHuggingFaceWeights);
}

// File names by part, complete from 0 on.
std::vector<std::string> FindParts(const fs::path& folder) {
  std::map<size_t, std::string> found;
  for (const std::string& name : huggingface::ListFiles(folder)) {
    const auto number = PartNumber(name);
    if (!number) continue;
    if (*number >= kMaxParts) {
      throw Error(
          ErrorCode::kLimitExceeded, {(folder / name).string(), {}, {}},
          fmt::format("more than {} parts are not read; is this a model's file?", kMaxParts));
    }
    if (const auto [at, fresh] = found.emplace(*number, name); !fresh) {
      throw Error(
          ErrorCode::kDuplicate, {(folder / name).string(), {}, {}},
          fmt::format("{} is the same part; remove the one that does not belong here", at->second));
    }
  }
  std::vector<std::string> parts;
  for (const auto& [number, name] : found) {
    if (number != parts.size()) {
      throw Error(ErrorCode::kMissing,
                  {(folder / fmt::format("consolidated.{:02}.pth", parts.size())).string(), {}, {}},
                  "this part of the model is absent, and later ones are there; download it");
    }
    parts.push_back(name);
  }
  return parts;
}

}  // namespace

MetaSource::MetaSource(const fs::path& path, const OpenOptions& options) : TorchParts(path) {
  layout_ = "meta";
  side_files_ = huggingface::FindSideFiles(path);
  config_ = ReadJsonFile(path / kParams);
  if (!config_.is_object()) {
    throw Error(ErrorCode::kBadType, {(path / kParams).string(), {}, {}},
                "is no JSON object; download it again");
  }
  const std::vector<std::string> names = FindParts(path);
  std::vector<PartFile> parts;
  for (size_t i = 0; i < names.size(); ++i) {
    parts.push_back({path / names[i], names.size() == 1 ? "" : fmt::format("{}{}/", kPrefix, i)});
  }
  OpenParts(parts, options);
}

constinit const FormatInfo kFormat = {
    "meta", "Meta's original folder: params.json, consolidated.NN.pth, tokenizer.model", Matches,
    [](const fs::path& path, const OpenOptions& options) -> std::unique_ptr<ModelSource> {
      return std::make_unique<MetaSource>(path, options);
    }};

}  // namespace quern::formats::meta
