#include "cli/store_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/core/error.h"

namespace quern::cli {
namespace {

using formats::ollama::Layer;
using formats::ollama::Manifest;
using formats::ollama::Store;
using formats::ollama::StoredModel;

constexpr size_t kLicenseLines = 3;

// Of a layer that Ollama writes as JSON; its text where it is none.
Json JsonOf(const StoredModel& model, const Layer& layer) {
  std::string text = model.TextOf(layer);
  try {
    return ParseJson(text, model.BlobOf(layer).string());
  } catch (const Error&) {
    return text;
  }
}

Json LayerToJson(const StoredModel& model, const Layer& layer) {
  Json json = {{"media_type", layer.media_type},
               {"digest", "sha256:" + layer.digest},
               {"bytes", layer.size},
               {"blob", model.store().BlobPath(layer.digest).string()}};
  if (!layer.kind().empty()) json["kind"] = layer.kind();
  if (!layer.from.empty()) json["from"] = layer.from;
  if (!layer.name.empty()) json["name"] = layer.name;
  return json;
}

// `text` with every line under the first one's column; of more than `lines` the first ones.
std::string Indented(const std::string& text, size_t lines) {
  std::string out;
  size_t line = 0;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (line == lines) return out + "    ...\n";
    out += fmt::format("    {}\n", Printable(text.substr(begin, end - begin), 4096));
    begin = end + 1;
  }
  return out;
}

uint64_t BytesOf(const Manifest& manifest) {
  uint64_t bytes = manifest.config.size;
  for (const Layer& layer : manifest.layers) bytes += layer.size;
  return bytes;
}

}  // namespace

Json StoredToJson(const StoredModel& model) {
  Json layers = Json::array();
  for (const Layer& layer : model.manifest().layers) layers.push_back(LayerToJson(model, layer));
  Json json = {{"manifest", model.path().string()},
               {"config", JsonOf(model, model.manifest().config)},
               {"layers", std::move(layers)}};
  for (const Layer& layer : model.manifest().layers) {
    const std::string_view kind = layer.kind();
    if (kind == "template" || kind == "system") json[std::string(kind)] = model.TextOf(layer);
    if (kind == "license") json["licenses"].push_back(model.TextOf(layer));
    if (kind == "params") json["parameters"] = JsonOf(model, layer);
    if (kind == "messages") json["messages"] = JsonOf(model, layer);
  }
  return json;
}

void PrintStored(const StoredModel& model, bool full) {
  constexpr size_t kAll = SIZE_MAX;
  fmt::print("  manifest      {}\n", Printable(model.path().string(), 4096));
  for (const Layer& layer : model.manifest().layers) {
    const std::string_view kind = layer.kind().empty() ? layer.media_type : layer.kind();
    fmt::print("  layer {:<10} {:>10}  sha256:{}{}\n", Printable(kind, 80), HumanBytes(layer.size),
               layer.digest, layer.name.empty() ? "" : "  " + Printable(layer.name));
  }
  const Json json = StoredToJson(model);
  for (const char* key : {"template", "system"}) {
    if (!json.contains(key)) continue;
    fmt::print("  {}\n{}", key, Indented(json[key].get<std::string>(), kAll));
  }
  for (const char* key : {"parameters", "messages", "config"}) {
    if (!json.contains(key)) continue;
    fmt::print("  {}\n{}", key,
               Indented(json[key].dump(2, ' ', false, Json::error_handler_t::replace), kAll));
  }
  for (const Json& license : json.value("licenses", Json::array())) {
    fmt::print("  license\n{}", Indented(license.get<std::string>(), full ? kAll : kLicenseLines));
  }
}

void ListStore(const Store& store, const CommonOptions& common) {
  Json models = Json::array();
  if (!common.json) fmt::print("{}\n", Printable(store.root().string(), 4096));
  for (const Store::Entry& entry : store.Models()) {
    Json json = {{"name", entry.name.ShortText()}, {"manifest", entry.path.string()}};
    std::string size;
    try {
      json["bytes"] = BytesOf(store.ReadManifest(entry.path));
      size = HumanBytes(json["bytes"].get<uint64_t>());
    } catch (const Error& error) {
      json["error"] = error.what();
      size = error.message();
    }
    if (!common.json) fmt::print("  {:<40} {}\n", entry.name.ShortText(), size);
    models.push_back(std::move(json));
  }
  if (common.json) PrintJson({{"store", store.root().string()}, {"models", std::move(models)}});
}

}  // namespace quern::cli
