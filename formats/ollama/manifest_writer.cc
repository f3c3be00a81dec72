#include "formats/ollama/manifest_writer.h"

#include <fmt/format.h>

#include <cmath>

#include "formats/ollama/modelfile.h"

namespace quern::formats::ollama {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string DigestText(const Layer& layer) { return "sha256:" + layer.digest; }

OrderedJson LayerToJson(const Layer& layer) {
  OrderedJson json = {
      {"mediaType", layer.media_type}, {"digest", DigestText(layer)}, {"size", layer.size}};
  if (!layer.from.empty()) json["from"] = layer.from;
  if (!layer.name.empty()) json["name"] = layer.name;
  return json;
}

}  // namespace

std::string ConfigText(const Config& config, const std::vector<Layer>& layers) {
  OrderedJson json = {{"model_format", "gguf"},
                      {"model_family", config.families.front()},
                      {"model_families", config.families},
                      {"model_type", config.model_type},
                      {"file_type", config.file_type}};
  if (!config.renderer.empty()) json["renderer"] = config.renderer;
  if (!config.parser.empty()) json["parser"] = config.parser;
  if (!config.min_version.empty()) json["requires"] = config.min_version;
  json["architecture"] = "amd64";  // of every config that Ollama writes, on any machine
  json["os"] = "linux";
  OrderedJson digests = OrderedJson::array();
  for (const Layer& layer : layers) digests.push_back(DigestText(layer));
  json["rootfs"] = {{"type", "layers"}, {"diff_ids", digests}};
  return GoJson(json);
}

std::string ManifestText(const Manifest& manifest) {
  OrderedJson layers = OrderedJson::array();
  for (const Layer& layer : manifest.layers) layers.push_back(LayerToJson(layer));
  return GoJson({{"schemaVersion", 2},
                 {"mediaType", kManifestType},
                 {"config", LayerToJson(manifest.config)},
                 {"layers", layers}});
}

std::string HumanCount(uint64_t count) {
  struct Unit {
    double size;
    int decimals;
    char letter;
  };
  for (const Unit& unit : {Unit{1e9, 1, 'B'}, Unit{1e6, 2, 'M'}, Unit{1e3, 0, 'K'}}) {
    const double number = static_cast<double>(count) / unit.size;
    if (number < 1) continue;
    const int decimals = number == std::floor(number) ? 0 : unit.decimals;
    return fmt::format("{:.{}f}{}", number, decimals, unit.letter);
  }
  return std::to_string(count);
}

}  // namespace quern::formats::ollama
