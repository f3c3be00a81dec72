#include "converters/model_edits.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "formats/core/error.h"

namespace quern::converters {
namespace {

Error BadOverride(std::string_view text, std::string_view why) {
  return Error(ErrorCode::kUsage, {{}, {}, "--override-kv " + Printable(text)},
               fmt::format("{}; write KEY=TYPE:VALUE with TYPE int, float, bool or str, e.g. "
                           "llama.context_length=int:8192",
                           why));
}

// All of `text` as a number.
template <typename T>
std::optional<T> Number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// llama-quantize stores the absolute value, cut to 32 bits, of whatever it is given.
Value IntegerValue(std::string_view value, std::string_view text) {
  const auto number = Number<uint32_t>(value);
  if (!number) {
    throw BadOverride(text,
                      "the value is no integer from 0 to 4294967295, which is all that "
                      "llama.cpp stores");
  }
  return *number;
}

Value FloatValue(std::string_view value, std::string_view text) {
  const auto number = Number<double>(value);
  if (!number || !std::isfinite(static_cast<float>(*number))) {
    throw BadOverride(text, "the value is no number of single precision");
  }
  return static_cast<float>(*number);
}

Value BoolValue(std::string_view value, std::string_view text) {
  if (value != "true" && value != "false") throw BadOverride(text, "a bool is true or false");
  return value == "true";
}

// "blk.N." in a tensor's name.
struct LayerNumber {
  size_t at;      // of the digits
  size_t digits;  // how many
  uint32_t number;
};

std::optional<LayerNumber> FindLayer(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  for (size_t at = name.find(kPrefix); at != name.npos; at = name.find(kPrefix, at + 1)) {
    const size_t begin = at + kPrefix.size();
    const size_t end = std::min(name.find('.', begin), name.size());
    const auto number = Number<uint32_t>(name.substr(begin, end - begin));
    if (number && end < name.size()) return LayerNumber{begin, end - begin, *number};
  }
  return std::nullopt;
}

std::set<uint32_t> LayersOf(const OutputModel& model) {
  std::set<uint32_t> layers;
  for (const OutputTensor& tensor : model.tensors) {
    if (const auto layer = FindLayer(tensor.name)) layers.insert(layer->number);
  }
  return layers;
}

void RequireLayers(std::span<const uint32_t> pruned, const std::set<uint32_t>& layers) {
  const Where where{{}, {}, "--prune-layers"};
  for (const uint32_t layer : pruned) {
    if (layers.count(layer) > 0) continue;
    throw Error(ErrorCode::kUsage, where,
                layers.empty() ? "the model has no layers (tensors named blk.N.)"
                               : fmt::format("there is no layer {}; the last one is {}", layer,
                                             *layers.rbegin()));
  }
  if (pruned.size() >= layers.size()) {
    throw Error(ErrorCode::kUsage, where, "no layer would be left; leave one out");
  }
}

// The number that each layer gets, by its old one; no entry for those that go. Before the first of
// those nothing changes, so that gaps in the numbers stay.
std::map<uint32_t, uint32_t> NewNumbers(const std::set<uint32_t>& layers,
                                        std::span<const uint32_t> pruned) {
  const uint32_t first = *std::min_element(pruned.begin(), pruned.end());
  std::map<uint32_t, uint32_t> numbers;
  uint32_t next = 0;
  for (const uint32_t layer : layers) {
    if (std::find(pruned.begin(), pruned.end(), layer) != pruned.end()) continue;
    const uint32_t number = layer < first ? layer : next;
    numbers[layer] = number;
    next = number + 1;
  }
  return numbers;
}

void NoteValuesPerLayer(size_t layers, OutputModel& model) {
  for (const auto& [key, value] : model.metadata.entries()) {
    const Array* array = std::get_if<Array>(&value);
    if (!array || array->size() != layers || key.starts_with("tokenizer.")) continue;
    model.notes.push_back(
        fmt::format("{} has one value for each of the {} layers, and --prune-layers leaves it as "
                    "it is, as llama-quantize does; the result may not load",
                    Printable(key), layers));
  }
}

}  // namespace

Metadata::Entry ParseKeyOverride(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == text.npos || equals == 0) throw BadOverride(text, "there is no KEY=");
  const std::string_view rest = text.substr(equals + 1);
  const size_t colon = std::min(rest.find(':'), rest.size());
  const std::string_view type = rest.substr(0, colon);
  if (colon == rest.size()) throw BadOverride(text, "there is no TYPE:");
  const std::string_view value = rest.substr(colon + 1);
  std::string key(text.substr(0, equals));
  if (type == "int") return {std::move(key), IntegerValue(value, text)};
  if (type == "float") return {std::move(key), FloatValue(value, text)};
  if (type == "bool") return {std::move(key), BoolValue(value, text)};
  if (type == "str") return {std::move(key), std::string(value)};
  throw BadOverride(text, fmt::format("there is no type \"{}\"", Printable(type)));
}

void RequireDistinctKeys(std::span<const Metadata::Entry> overrides) {
  std::set<std::string_view> keys;
  for (const auto& [key, value] : overrides) {
    if (keys.insert(key).second) continue;
    throw Error(ErrorCode::kUsage, {{}, {}, "--override-kv " + Printable(key)},
                "this key is overridden twice; do it once");
  }
}

void OverrideKeys(std::span<const Metadata::Entry> overrides, Metadata& metadata) {
  for (const auto& [key, value] : overrides) metadata.SetLast(key, value);
}

std::vector<uint32_t> ParseLayers(std::string_view text) {
  const Where where{{}, {}, "--prune-layers " + Printable(text)};
  std::vector<uint32_t> layers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const auto layer = Number<uint32_t>(text.substr(begin, end - begin));
    if (!layer) {
      throw Error(ErrorCode::kUsage, where,
                  "this is no list of layers; write their numbers with commas between, e.g. 3,4,7");
    }
    if (std::find(layers.begin(), layers.end(), *layer) != layers.end()) {
      throw Error(ErrorCode::kUsage, where,
                  fmt::format("layer {} is named twice; name it once", *layer));
    }
    layers.push_back(*layer);
    begin = end + 1;
  }
  return layers;
}

void PruneLayers(std::span<const uint32_t> pruned, OutputModel& model) {
  if (pruned.empty()) return;
  const std::set<uint32_t> layers = LayersOf(model);
  RequireLayers(pruned, layers);
  const std::map<uint32_t, uint32_t> numbers = NewNumbers(layers, pruned);
  std::vector<OutputTensor> left;
  for (OutputTensor& tensor : model.tensors) {
    if (const auto layer = FindLayer(tensor.name)) {
      const auto number = numbers.find(layer->number);
      if (number == numbers.end()) continue;
      if (number->second != layer->number) {
        tensor.unpruned_name = tensor.name;
        tensor.name.replace(layer->at, layer->digits, std::to_string(number->second));
      }
    }
    left.push_back(std::move(tensor));
  }
  model.tensors = std::move(left);
  model.layers_left = numbers.rbegin()->second + 1;
  NoteValuesPerLayer(layers.size(), model);
}

}  // namespace quern::converters
