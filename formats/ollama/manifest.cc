#include "formats/ollama/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "formats/core/json.h"

namespace quern::formats::ollama {
namespace {

constexpr size_t kDigestDigits = 64;

bool IsDigest(std::string_view hex) {
  return hex.size() == kDigestDigits && std::all_of(hex.begin(), hex.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// One JSON object of a manifest, and how its place is called in errors.
class Fields {
 public:
  Fields(const Json& json, std::string_view file, std::string subject)
      : json_(json), file_(file), subject_(std::move(subject)) {
    if (!json.is_object()) throw Error(ErrorCode::kBadType, At(""), "must be an object");
  }

  const Json* Find(std::string_view key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  const Json& Require(std::string_view key) const {
    if (const Json* value = Find(key)) return *value;
    throw Error(ErrorCode::kMissing, At(key),
                "the manifest lacks this field; pull or create the model again");
  }
  std::string Text(std::string_view key) const {
    const Json* value = Find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) throw Error(ErrorCode::kBadType, At(key), "must be a string");
    return value->get<std::string>();
  }
  std::string RequiredText(std::string_view key) const {
    Require(key);
    return Text(key);
  }
  uint64_t Size(std::string_view key) const {
    const Json& value = Require(key);
    if (!value.is_number_unsigned()) {
      throw Error(ErrorCode::kBadValue, At(key), "must be a number of bytes");
    }
    return value.get<uint64_t>();
  }
  // The members of an array, each with its own place.
  std::vector<Fields> List(std::string_view key) const {
    const Json& value = Require(key);
    if (!value.is_array()) throw Error(ErrorCode::kBadType, At(key), "must be an array");
    std::vector<Fields> list;
    for (size_t i = 0; i < value.size(); ++i) {
      list.emplace_back(value[i], file_, fmt::format("{}[{}]", Join(key), i));
    }
    return list;
  }
  Fields Object(std::string_view key) const { return {Require(key), file_, Join(key)}; }
  Where At(std::string_view key) const { return {std::string(file_), {}, Join(key)}; }

 private:
  std::string Join(std::string_view key) const {
    if (subject_.empty() || key.empty()) return subject_ + std::string(key);
    return fmt::format("{}.{}", subject_, key);
  }

  const Json& json_;
  std::string_view file_;
  std::string subject_;
};

Layer ParseLayer(const Fields& fields) {
  return {.media_type = fields.RequiredText("mediaType"),
          .digest = ParseDigest(fields.RequiredText("digest"), fields.At("digest")),
          .size = fields.Size("size"),
          .from = fields.Text("from"),
          .name = fields.Text("name")};
}

Manifest ParseManifest(const Fields& fields) {
  Manifest manifest;
  manifest.runner = fields.Text("runner");
  manifest.format = fields.Text("format");
  if (!fields.Find("config") && !fields.Find("layers") && fields.Find("digest")) {
    manifest.reference = ParseDigest(fields.Text("digest"), fields.At("digest"));
    return manifest;
  }
  manifest.config = ParseLayer(fields.Object("config"));
  std::map<std::string, uint64_t> sizes = {{manifest.config.digest, manifest.config.size}};
  if (!fields.Find("layers")) return manifest;  // of a model that runs elsewhere
  for (const Fields& layer : fields.List("layers")) {
    manifest.layers.push_back(ParseLayer(layer));
    const auto [known, added] =
        sizes.emplace(manifest.layers.back().digest, manifest.layers.back().size);
    if (!added && known->second != manifest.layers.back().size) {
      throw Error(ErrorCode::kDuplicate, layer.At("size"),
                  fmt::format("the same blob has {} bytes elsewhere in the manifest; pull or "
                              "create the model again",
                              known->second));
    }
  }
  return manifest;
}

}  // namespace

std::string_view Layer::kind() const {
  std::string_view type = media_type;
  if (!type.starts_with(kLayerTypePrefix)) return {};
  type.remove_prefix(kLayerTypePrefix.size());
  return type;
}

std::string ParseDigest(std::string_view text, const Where& where) {
  constexpr std::string_view kAlgorithm = "sha256:";
  if (text.starts_with(kAlgorithm) && IsDigest(text.substr(kAlgorithm.size()))) {
    return std::string(text.substr(kAlgorithm.size()));
  }
  throw Error(ErrorCode::kBadValue, where,
              fmt::format("\"{}\" is no digest; it must be sha256: and 64 lower-case hexadecimal "
                          "digits",
                          Printable(text, 100)));
}

std::vector<Manifest> ParseManifests(std::string_view json, std::string_view file) {
  const Json root = ParseJson(json, file);
  const Fields fields(root, file, "");
  const Json* version = fields.Find("schemaVersion");
  if (version == nullptr || *version != 2) {
    throw Error(ErrorCode::kBadMagic, fields.At("schemaVersion"),
                "this is no manifest of schema version 2, the only one that Ollama writes");
  }
  const std::string type = fields.Text("mediaType");
  if (type == kManifestListType) {
    std::vector<Manifest> manifests;
    for (const Fields& member : fields.List("manifests")) {
      manifests.push_back(ParseManifest(member));
    }
    return manifests;
  }
  if (type != kManifestType) {
    throw Error(ErrorCode::kBadMagic, fields.At("mediaType"),
                fmt::format("\"{}\" is no media type of an Ollama manifest", Printable(type, 100)));
  }
  return {ParseManifest(fields)};
}

}  // namespace quern::formats::ollama
