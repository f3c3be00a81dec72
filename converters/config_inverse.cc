#include "converters/config_inverse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "converters/computed_tensors.h"
#include "converters/formula.h"
#include "converters/hyperparameters.h"
#include "converters/name_pattern.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

constexpr int kMaxDepth = 16;
constexpr int kPlainDecimals = 3;
// Longest list of a computed tensor that goes into a config.
constexpr uint64_t kMaxListed = uint64_t{1} << 20;

// A float's shortest decimal, so that 1e-05f does not become 9.999999747378752e-06.
Json ShortestOf(float value) {
  const std::string text = fmt::format("{}", value);
  double number = value;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Json JsonOf(const Value& value) {
  return std::visit(
      [](const auto& item) -> Json {
        using T = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<T, float>) {
          return ShortestOf(item);
        } else if constexpr (std::is_same_v<T, Array>) {
          return std::visit(
              [](const auto& items) -> Json {
                Json list = Json::array();
                if constexpr (!std::is_same_v<std::decay_t<decltype(items)>, std::monostate>) {
                  for (const auto& entry : items) {
                    using Entry = std::decay_t<decltype(entry)>;
                    if constexpr (std::is_same_v<Entry, float>) {
                      list.push_back(ShortestOf(entry));
                    } else {
                      list.push_back(static_cast<Entry>(entry));
                    }
                  }
                }
                return list;
              },
              item.items);
        } else {
          return item;
        }
      },
      value);
}

bool IsName(std::string_view formula) {
  return !formula.empty() && std::isdigit(static_cast<unsigned char>(formula[0])) == 0 &&
         std::all_of(formula.begin(), formula.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '$';
         });
}

// Where a value may come from: names of the config, and a formula.
struct Origin {
  std::vector<std::string> names;
  std::string compute;
};

class ConfigInverter {
 public:
  ConfigInverter(const ModelSource& gguf, const Architecture& architecture)
      : gguf_(gguf), architecture_(architecture) {}

  Json Run(std::vector<std::string>& notes) {
    for (const KeyRule& key : architecture_.keys) InvertPlain(key);
    for (const TensorRule& rule : architecture_.tensors) TakeShape(rule);
    for (const KeyRule& key : architecture_.keys) InvertComputed(key);
    for (const TensorRule& rule : architecture_.tensors) InvertValues(rule, notes);
    AddExport();
    return std::move(config_);
  }

 private:
  const Value* ValueOf(const KeyRule& key) const {
    return gguf_.metadata().Find(FullKey(architecture_, key.key));
  }

  const ValueRule* Defined(std::string_view name) const {
    for (const NamedValue& value : architecture_.values) {
      if (value.name == name) return &value.rule;
    }
    return nullptr;
  }

  Origin OriginOf(const ValueRule& rule, std::string_view subject, int depth = 0) const {
    Origin origin{.names = {}, .compute = rule.compute};
    for (const std::string& name : rule.from) {
      const ValueRule* defined = name == subject || depth > kMaxDepth ? nullptr : Defined(name);
      if (defined == nullptr) {
        origin.names.push_back(name);
        continue;
      }
      Origin inner = OriginOf(*defined, name, depth + 1);
      origin.names.insert(origin.names.end(), inner.names.begin(), inner.names.end());
      if (origin.compute.empty()) origin.compute = std::move(inner.compute);
    }
    return origin;
  }

  Origin OriginOfName(const std::string& name) const {
    return OriginOf(
        {.from = {name}, .rows_of = {}, .compute = {}, .fallback = {}, .map = {}, .when = {}}, "");
  }

  std::string Spelling(const Origin& origin) const {
    const auto& preferred = architecture_.spelling;
    const auto at = std::find_if(origin.names.begin(), origin.names.end(), [&](const auto& name) {
      return std::find(preferred.begin(), preferred.end(), name) != preferred.end();
    });
    return at != origin.names.end() ? *at : origin.names.front();
  }

  // Under a dotted name; $rope's members go where most models have them.
  void Set(std::string name, Json value) {
    constexpr std::string_view kRope = "$rope.";
    if (name == "$rope.rope_theta") name = "rope_theta";
    if (name == "$rope_swa.rope_theta") name = "rope_local_base_freq";
    if (name.starts_with(kRope)) name = "rope_scaling." + name.substr(kRope.size());
    if (name.starts_with('$')) return;
    Json* at = &config_;
    std::string_view rest = name;
    for (size_t dot; (dot = rest.find('.')) != rest.npos; rest.remove_prefix(dot + 1)) {
      at = &(*at)[std::string(rest.substr(0, dot))];
      if (!at->is_null() && !at->is_object()) return;
    }
    Json& place = (*at)[std::string(rest)];
    if (place.is_null()) place = std::move(value);
  }

  Hyperparameters Known() const {
    return Hyperparameters(config_, architecture_, gguf_.path().string());
  }

  static bool IsKnown(const Hyperparameters& h, std::string_view name) try {
    return h.Find(name).has_value();
  } catch (const Error&) {
    return false;  // a definition that lacks what it needs
  }

  // What `map` makes of a value, undone; the text that stands for itself where several do.
  static std::optional<Json> Unmap(const ValueRule& rule, const Json& value) {
    if (rule.map.empty()) return value;
    if (value.is_array()) {
      Json items = Json::array();
      for (const Json& item : value) {
        auto text = Unmap(rule, item);
        if (!text) return std::nullopt;
        items.push_back(std::move(*text));
      }
      return items;
    }
    std::optional<Json> found;
    for (const auto& [text, to] : rule.map) {
      if (to != value) continue;
      if (!found || value == text) found = text;
    }
    return found;
  }

  void InvertPlain(const KeyRule& key) {
    const Value* value = ValueOf(key);
    if (value == nullptr || key.key.starts_with("general.")) return;
    const Origin origin = OriginOf(key.rule, FullKey(architecture_, key.key));
    if (origin.names.empty() && origin.compute.empty()) {
      // A constant that is there says that its conditions hold.
      for (const Condition& condition : key.rule.when) {
        const auto* accepted = std::get_if<std::vector<Json>>(&condition.accepted);
        if (accepted != nullptr && accepted->size() == 1) Set(condition.name, accepted->front());
      }
      return;
    }
    if (!origin.compute.empty()) return;
    if (auto json = Unmap(key.rule, JsonOf(*value))) Set(Spelling(origin), std::move(*json));
  }

  // A dimension that a rule calls by a name gives that its value.
  void TakeShape(const TensorRule& rule) {
    const TensorInfo* tensor = gguf_.FindTensor(FillName(rule.target, {.block = 0, .expert = {}}));
    if (tensor == nullptr || tensor->shape.size() != rule.shape.size()) return;
    for (size_t i = 0; i < rule.shape.size(); ++i) {
      if (!IsName(rule.shape[i]) || IsKnown(Known(), rule.shape[i])) continue;
      const Origin origin = OriginOfName(rule.shape[i]);
      if (!origin.names.empty()) Set(Spelling(origin), tensor->shape[i]);
    }
  }

  static std::optional<double> Computed(const Hyperparameters& h, const std::string& formula) try {
    return h.Compute(formula);
  } catch (const Error&) {
    return std::nullopt;
  }

  void InvertComputed(const KeyRule& key) {
    const Value* value = ValueOf(key);
    const Origin origin = OriginOf(key.rule, FullKey(architecture_, key.key));
    if (value == nullptr || origin.compute.empty()) return;
    const Json json = JsonOf(*value);
    const Hyperparameters h = Known();
    const auto computed = Computed(h, origin.compute);
    if (computed && json.is_number() && *computed == json.get<double>()) return;
    if (!origin.names.empty()) return Set(Spelling(origin), json);
    if (!computed && json.is_number()) Solve(h, origin.compute, json.get<double>());
  }

  // For the one name of the formula that has no value, the number that gives `wanted`. The formulas
  // in use are proportions, rounded: the proportion itself if it is a plain number, else the number
  // with the fewest decimals.
  void Solve(const Hyperparameters& h, const std::string& formula, double wanted) {
    std::set<std::string> unknown;
    const auto with = [&](double x) {
      return EvaluateFormula(formula, [&](std::string_view name) {
        if (IsKnown(h, name)) return h.Number(name);
        unknown.emplace(name);
        return x;
      });
    };
    double scale = 0;
    try {
      scale = with(1.0);
    } catch (const Error&) {
      return;
    }
    const Origin origin = unknown.size() == 1 ? OriginOfName(*unknown.begin()) : Origin{};
    if (origin.names.empty() || scale == 0) return;
    const auto rounded = [&](int digits) {
      const double power = std::pow(10.0, digits);
      return std::round(wanted / scale * power) / power;
    };
    const double plain = rounded(kPlainDecimals);
    if (plain == wanted / scale && with(plain) == wanted) return Set(Spelling(origin), plain);
    for (int digits = 0; digits <= 9; ++digits) {
      if (with(rounded(digits)) == wanted) return Set(Spelling(origin), rounded(digits));
    }
  }

  std::vector<float> FloatsOf(const TensorInfo& tensor) const {
    if (tensor.type != TensorType::kF32 || tensor.bytes > kMaxListed * sizeof(float)) return {};
    std::vector<float> values(tensor.bytes / sizeof(float));
    gguf_.Read(tensor, 0, {reinterpret_cast<uint8_t*>(values.data()), tensor.bytes});
    return values;
  }

  // Tensors that are computed from the config when converting.
  void InvertValues(const TensorRule& rule, std::vector<std::string>& notes) {
    const bool llama3 = rule.kind == TensorRule::Kind::kLlama3RopeFactors;
    if (rule.kind != TensorRule::Kind::kValues && !llama3) return;
    const TensorInfo* tensor = gguf_.FindTensor(rule.target);
    if (tensor == nullptr) return;
    const std::vector<float> values = FloatsOf(*tensor);
    if (!values.empty() && !llama3) {
      Json list = Json::array();
      for (const float value : values) list.push_back(ShortestOf(value));
      return Set(rule.sources.at(0), std::move(list));
    }
    if (values.empty() || !SetLlama3Scaling(values)) {
      notes.push_back(
          fmt::format("{} is left out: its values are not those of a scaling that a config can say",
                      rule.target));
    }
  }

  // The factor is that of the longest waves; what bends the others is the same in every model with
  // this scaling.
  bool SetLlama3Scaling(const std::vector<float>& factors) {
    const Json before = config_;
    const float factor = *std::max_element(factors.begin(), factors.end());
    config_["rope_scaling"] = {{"rope_type", "llama3"},
                               {"factor", ShortestOf(factor)},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 8192}};
    try {
      if (Llama3RopeFactors(Known()) == factors) return true;
    } catch (const Error&) {  // no head size, or one that makes no sense
    }
    config_ = before;
    return false;
  }

  void AddExport() {
    for (const ExportRule& rule : architecture_.exports) {
      if (!Known().Holds(rule.when)) continue;
      config_["architectures"] = Json::array({rule.architecture});
      for (const NamedValue& value : rule.config) {
        if (auto json = Known().ValueOf(value.rule, value.name)) Set(value.name, std::move(*json));
      }
      return;
    }
  }

  const ModelSource& gguf_;
  const Architecture& architecture_;
  Json config_ = Json::object();
};

}  // namespace

Json InvertConfig(const ModelSource& gguf, const Architecture& architecture,
                  std::vector<std::string>& notes) {
  return ConfigInverter(gguf, architecture).Run(notes);
}

std::vector<std::string> UnequalKeys(const ModelSource& gguf, const Architecture& architecture,
                                     const Json& config) {
  Metadata back;
  Hyperparameters(config, architecture, gguf.path().string()).AppendKeys(back);
  const std::string prefix = architecture.name + ".";
  std::vector<std::string> keys;
  for (const auto& [key, value] : gguf.metadata().entries()) {
    if (!key.starts_with(prefix)) continue;
    const Value* again = back.Find(key);
    if (again == nullptr || !(*again == value)) keys.push_back(key);
  }
  for (const auto& [key, value] : back.entries()) {
    if (key.starts_with(prefix) && !gguf.metadata().Has(key)) keys.push_back(key);
  }
  return keys;
}

}  // namespace quern::converters
