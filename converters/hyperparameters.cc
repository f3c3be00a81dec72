#include "converters/hyperparameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "converters/formula.h"
#include "converters/name_pattern.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

constexpr int kMaxDepth = 16;

// First key of `names` that `object` has, as llama.cpp's converter looks up alternatives: one that
// is there and null decides, too.
const Json* FirstOf(const Json& object, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto at = object.find(name); at != object.end()) return &*at;
  }
  return nullptr;
}

const Json* TextConfig(const Json& config) {
  if (const Json* thinker = FirstOf(config, {"thinker_config"}); thinker && thinker->is_object()) {
    if (const Json* text = FirstOf(*thinker, {"text_config"}); text && text->is_object()) {
      return text;
    }
  }
  const Json* text = FirstOf(config, {"language_config", "lm_config", "llm_config", "text_config"});
  return text && text->is_object() ? text : nullptr;
}

const Json* FirstArchitecture(const Json& config) {
  const auto at = config.find("architectures");
  if (at == config.end() || !at->is_array() || at->empty() || !at->front().is_string()) {
    return nullptr;
  }
  return &at->front();
}

template <typename T>
std::optional<Value> WholeNumber(const Json& json) {
  if (json.is_number_unsigned()) {
    if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<T>::max())) return {};
    return static_cast<T>(json.get<uint64_t>());
  }
  if (json.is_number_integer()) {
    const auto value = json.get<int64_t>();
    if (value < 0 &&
        (std::is_unsigned_v<T> || value < static_cast<int64_t>(std::numeric_limits<T>::min()))) {
      return {};
    }
    return static_cast<T>(value);
  }
  if (!json.is_number_float()) return {};
  const double value = json.get<double>();  // some configs write 4096.0
  if (value != std::trunc(value) || std::abs(value) > 9e15) return {};
  return WholeNumber<T>(value < 0 ? Json(static_cast<int64_t>(value))
                                  : Json(static_cast<uint64_t>(value)));
}

std::optional<Value> ScalarAs(const Json& json, ValueType type) {
  switch (type) {
    case ValueType::kUint32:
      return WholeNumber<uint32_t>(json);
    case ValueType::kInt32:
      return WholeNumber<int32_t>(json);
    case ValueType::kUint64:
      return WholeNumber<uint64_t>(json);
    case ValueType::kFloat32:
      if (!json.is_number()) return {};
      return static_cast<float>(json.get<double>());
    case ValueType::kBool:
      if (!json.is_boolean()) return {};
      return json.get<bool>();
    case ValueType::kString:
      if (!json.is_string()) return {};
      return json.get<std::string>();
    default:
      return {};
  }
}

template <typename T>
std::optional<Value> ArrayOf(const Json& json, ValueType type) {
  std::vector<T> items;
  for (const auto& item : json) {
    const auto value = ScalarAs(item, type);
    if (!value) return {};
    items.push_back(std::get<T>(*value));
  }
  return Array{std::move(items)};
}

// A list in the config (one value per layer) becomes an array of the key's type.
std::optional<Value> ValueAs(const Json& json, ValueType type) {
  if (!json.is_array()) return ScalarAs(json, type);
  switch (type) {
    case ValueType::kUint32:
      return ArrayOf<uint32_t>(json, type);
    case ValueType::kInt32:
      return ArrayOf<int32_t>(json, type);
    case ValueType::kFloat32:
      return ArrayOf<float>(json, type);
    case ValueType::kBool:
      return ArrayOf<bool>(json, type);
    case ValueType::kString:
      return ArrayOf<std::string>(json, type);
    default:
      return {};
  }
}

// Not false, zero or empty: what Python's converters test where a config says "if".
bool IsSomething(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

}  // namespace

std::string HfArchitecture(const Json& config, const std::string& file) {
  const Json* found = nullptr;
  if (config.is_object()) {
    if (const Json* text = TextConfig(config)) found = FirstArchitecture(*text);
    if (!found) found = FirstArchitecture(config);
  }
  if (!found) {
    throw Error(ErrorCode::kMissing, {file, {}, "architectures"},
                "the model does not say what architecture it is; add "
                "\"architectures\": [\"...ForCausalLM\"] to its config.json");
  }
  return found->get<std::string>();
}

Hyperparameters::Hyperparameters(const Json& config, const Architecture& architecture,
                                 std::string file, const ModelSource* source)
    : config_(config.is_object() ? config : Json::object()),
      architecture_(architecture),
      file_(std::move(file)),
      source_(source) {
  if (const Json* text = TextConfig(config_)) {
    const Json merged = *text;  // a copy: it is part of what is updated
    config_.update(merged);
  }
  DeriveRope();
}

void Hyperparameters::DeriveRope() {
  const Json* given = FirstOf(config_, {"rope_parameters", "rope_scaling"});
  Json rope = given && given->is_object() ? *given : Json::object();
  if (!rope.contains("full_attention") && !rope.contains("sliding_attention")) {
    const Json* theta = FirstOf(config_, {"global_rope_theta", "rope_global_theta",
                                          "rope_theta_global", "rope_theta", "rotary_emb_base"});
    const Json* local =
        FirstOf(config_, {"local_rope_theta", "rope_local_theta", "rope_theta_local",
                          "swa_rope_theta", "rope_local_base_freq"});
    if (local && !local->is_null()) rope["sliding_attention"] = {{"rope_theta", *local}};
    if (theta && !theta->is_null() && !rope.contains("rope_theta")) rope["rope_theta"] = *theta;
    if (const auto type = rope.find("type");
        type != rope.end() && !type->is_null() && !rope.contains("rope_type")) {
      rope["rope_type"] = *type;
    }
  }
  config_["$rope"] = rope.value("full_attention", rope);
  config_["$rope_swa"] = rope.value("sliding_attention", Json::object());
}

const Json* Hyperparameters::InConfig(std::string_view path) const {
  const Json* at = &config_;
  while (true) {
    const size_t dot = path.find('.');
    if (!at->is_object()) return nullptr;
    const auto found = at->find(std::string(path.substr(0, dot)));
    if (found == at->end()) return nullptr;
    at = &*found;
    if (dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
}

bool Hyperparameters::IsDefined(std::string_view name) const {
  return std::any_of(architecture_.values.begin(), architecture_.values.end(),
                     [&](const NamedValue& value) { return value.name == name; });
}

std::optional<Json> Hyperparameters::Find(std::string_view name, int depth) const {
  if (depth > kMaxDepth) {
    throw Error(ErrorCode::kBadValue, {architecture_.file, {}, std::string(name)},
                "this value is defined through itself; break the circle");
  }
  for (const auto& value : architecture_.values) {
    if (value.name == name) return ValueOf(value.rule, name, depth + 1);
  }
  const Json* found = InConfig(name);
  if (!found || found->is_null()) return std::nullopt;
  return *found;
}

std::optional<Json> Hyperparameters::ValueOf(const ValueRule& rule, std::string_view subject,
                                             int depth) const {
  if (!Holds(rule.when, depth)) return std::nullopt;
  std::optional<Json> value;
  for (const auto& name : rule.from) {
    // A definition named like the key of the config that it reads means that key.
    if (name != subject && IsDefined(name)) {
      value = Find(name, depth + 1);
    } else if (const Json* in_config = InConfig(name)) {
      value = *in_config;
    }
    if (value) break;
  }
  if (value && value->is_null()) value.reset();
  if (!value && !rule.rows_of.empty()) value = RowsOf(rule.rows_of);
  if (!value && !rule.compute.empty()) {
    const double number = Compute(rule.compute, depth);
    value = number == std::trunc(number) && std::abs(number) < 9e15
                ? Json(static_cast<int64_t>(number))
                : Json(number);
  }
  if (!value && rule.fallback) value = rule.fallback;
  if (!value) {
    if (rule.optional) return std::nullopt;
    throw Error(
        ErrorCode::kMissing, {file_, {}, std::string(subject)},
        rule.from.empty()
            ? fmt::format("needs the tensor {}; the model lacks it", rule.rows_of)
            : fmt::format("needs one of {}; the config lacks them", fmt::join(rule.from, ", ")));
  }
  if (rule.map.empty()) return value;
  const auto mapped = [&](const Json& item) {
    for (const auto& [text, to] : rule.map) {
      if (item.is_string() && item.get_ref<const std::string&>() == text) return to;
    }
    throw Error(ErrorCode::kUnsupported, {file_, {}, std::string(subject)},
                fmt::format("{} is not known here; add it to {}", Printable(item.dump()),
                            architecture_.file));
  };
  if (!value->is_array()) return mapped(*value);
  Json items = Json::array();
  for (const auto& item : *value) items.push_back(mapped(item));
  return items;
}

std::optional<Json> Hyperparameters::RowsOf(const std::string& pattern) const {
  if (source_ == nullptr) return std::nullopt;
  std::string_view bare = pattern;
  const std::string& prefix = architecture_.optional_prefix;
  if (!prefix.empty() && bare.starts_with(prefix)) bare.remove_prefix(prefix.size());
  uint64_t rows = 0;
  bool any = false;
  for (const TensorInfo& tensor : source_->tensors()) {
    if (!MatchName(pattern, tensor.name) && !MatchName(bare, tensor.name)) continue;
    any = true;
    const auto sum = CheckedAdd(rows, tensor.shape.empty() ? 1 : tensor.shape[0]);
    if (!sum) {
      throw Error(ErrorCode::kBadShape, {source_->path().string(), {}, Printable(tensor.name)},
                  "the shape is beyond any tensor's; the file is damaged");
    }
    rows = *sum;
  }
  if (!any) return std::nullopt;
  return Json(rows);
}

std::optional<std::string> Hyperparameters::Unmet() const {
  for (const auto& condition : architecture_.conditions) {
    if (Find(condition.name) && !Holds({condition})) return condition.name;
  }
  return std::nullopt;
}

double Hyperparameters::Number(std::string_view name, int depth) const {
  const auto value = Find(name, depth);
  if (!value) {
    throw Error(ErrorCode::kMissing, {file_, {}, std::string(name)},
                "the architecture needs this value; add it to the config");
  }
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    throw Error(ErrorCode::kBadValue, {file_, {}, std::string(name)},
                fmt::format("{} is no number; correct the config", Printable(value->dump())));
  }
  return value->get<double>();
}

double Hyperparameters::Compute(std::string_view formula, int depth) const {
  return EvaluateFormula(formula, [&](std::string_view name) { return Number(name, depth + 1); });
}

bool Hyperparameters::Holds(const Conditions& conditions) const { return Holds(conditions, 0); }

bool Hyperparameters::Holds(const Conditions& conditions, int depth) const {
  for (const auto& condition : conditions) {
    const auto value = Find(condition.name, depth + 1);
    if (const bool* present = std::get_if<bool>(&condition.accepted)) {
      if ((value && IsSomething(*value)) != *present) return false;
      continue;
    }
    const auto& accepted = std::get<std::vector<Json>>(condition.accepted);
    if (!value || std::find(accepted.begin(), accepted.end(), *value) == accepted.end()) {
      return false;
    }
  }
  return true;
}

uint64_t Hyperparameters::Count(std::string_view name) const {
  const double value = Number(name);
  if (value < 0 || value >= 4294967296.0 || value != std::trunc(value)) {
    throw Error(ErrorCode::kBadValue, {file_, {}, std::string(name)},
                fmt::format("{} is no count; correct the config", value));
  }
  return static_cast<uint64_t>(value);
}

uint64_t Hyperparameters::WholeNumber(const std::string& formula) const {
  const double value = Compute(formula);
  if (!(value >= 0 && value < 9e15 && value == std::trunc(value))) {
    throw Error(ErrorCode::kBadValue, {file_, {}, formula},
                fmt::format("{} is no count of rows; correct the config", value));
  }
  return static_cast<uint64_t>(value);
}

void Hyperparameters::AppendKeys(Metadata& metadata) const {
  for (const auto& key : architecture_.keys) {
    const std::string name = FullKey(architecture_, key.key);
    const auto json = ValueOf(key.rule, name);
    if (!json) continue;
    auto value = ValueAs(*json, key.type);
    if (!value) {
      throw Error(ErrorCode::kBadValue, {file_, {}, name},
                  fmt::format("{} is no {}; correct the config", Printable(json->dump()),
                              ValueTypeName(key.type)));
    }
    metadata.Set(name, std::move(*value));
  }
}

void Hyperparameters::AppendNotes(std::vector<std::string>& notes) const {
  for (const auto& note : architecture_.notes) {
    if (!Holds(note.when)) continue;
    std::string text = note.text;
    for (size_t at = 0; (at = text.find('{', at)) != std::string::npos;) {
      const size_t end = text.find('}', at);
      if (end == std::string::npos) break;
      const auto value = Find(text.substr(at + 1, end - at - 1));
      const std::string shown = value ? Printable(value->dump()) : "none";
      text.replace(at, end + 1 - at, shown);
      at += shown.size();
    }
    notes.push_back(std::move(text));
  }
}

}  // namespace quern::converters
