// The schema of architecture files. Each Parse function takes one kind of value, checks every key
// of it, and says where in the file something is wrong.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <initializer_list>

#include "converters/architecture.h"
#include "converters/formula.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

// The order of keys is the order of the output, which nlohmann's plain objects do not keep.
using Ordered = nlohmann::ordered_json;

// A value and where it stands: "tensors.output.weight.shape".
class Node {
 public:
  Node(const Ordered& json, const std::string& file, std::string path)
      : json_(json), file_(file), path_(std::move(path)) {}

  const Ordered& json() const { return json_; }
  bool is_null() const { return json_.is_null(); }

  [[noreturn]] void Fail(std::string_view message, ErrorCode code = ErrorCode::kBadValue) const {
    throw Error(code, {file_, {}, path_}, message);
  }

  Node operator[](const std::string& key) const {
    return {json_.at(key), file_, path_.empty() ? key : path_ + "." + key};
  }
  bool Has(const char* key) const { return json_.contains(key); }

  std::string Text() const {
    if (!json_.is_string()) Fail("must be a text");
    return json_.get<std::string>();
  }
  bool Bool() const {
    if (!json_.is_boolean()) Fail("must be true or false");
    return json_.get<bool>();
  }
  // A text or a list of texts.
  std::vector<std::string> Texts() const {
    if (json_.is_string()) return {Text()};
    if (!json_.is_array()) Fail("must be a text or a list of texts");
    std::vector<std::string> texts;
    for (size_t i = 0; i < json_.size(); ++i) texts.push_back(Item(i).Text());
    return texts;
  }
  Node Item(size_t i) const { return {json_.at(i), file_, fmt::format("{}[{}]", path_, i)}; }

  // Calls `visit(key, node)` for each member, in order.
  template <typename Visit>
  void Members(const Visit& visit) const {
    if (!json_.is_object()) Fail("must be an object");
    for (const auto& item : json_.items()) visit(item.key(), (*this)[item.key()]);
  }

  void AllowOnly(std::initializer_list<std::string_view> keys) const {
    Members([&](const std::string& key, const Node& node) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        node.Fail(fmt::format("is not a key of the format; known here: {}", fmt::join(keys, ", ")));
      }
    });
  }

 private:
  const Ordered& json_;
  const std::string& file_;
  std::string path_;
};

Json Plain(const Ordered& json) { return Json::parse(json.dump()); }

std::string ParseFormula(const Node& node) {
  std::string formula = node.Text();
  try {
    EvaluateFormula(formula, [](std::string_view) { return 1.0; });
  } catch (const Error& error) {
    // With every name 1 a difference may be 0: only what cannot be parsed is wrong for sure.
    if (error.code() == ErrorCode::kBadText) node.Fail(error.message(), ErrorCode::kBadText);
  }
  return formula;
}

Conditions ParseConditions(const Node& node) {
  Conditions conditions;
  node.Members([&](const std::string& name, const Node& accepted) {
    Condition condition{name, false};
    if (accepted.json().is_boolean()) {
      condition.accepted = accepted.Bool();
    } else if (accepted.json().is_array()) {
      std::vector<Json> values;
      for (const auto& value : accepted.json()) values.push_back(Plain(value));
      condition.accepted = std::move(values);
    } else {
      accepted.Fail("must be true (is there), false (is absent) or a list of values");
    }
    conditions.push_back(std::move(condition));
  });
  return conditions;
}

void ParseValueMembers(const Node& node, ValueRule& rule) {
  if (node.Has("from")) rule.from = node["from"].Texts();
  if (node.Has("rows_of")) rule.rows_of = node["rows_of"].Text();
  if (node.Has("compute")) rule.compute = ParseFormula(node["compute"]);
  if (node.Has("default")) rule.fallback = Plain(node["default"].json());
  if (node.Has("value")) rule.fallback = Plain(node["value"].json());
  if (node.Has("optional")) rule.optional = node["optional"].Bool();
  if (node.Has("when")) rule.when = ParseConditions(node["when"]);
  if (node.Has("map")) {
    node["map"].Members([&](const std::string& text, const Node& to) {
      rule.map.emplace_back(text, Plain(to.json()));
    });
  }
  if (rule.from.empty() && rule.rows_of.empty() && rule.compute.empty() && !rule.fallback) {
    node.Fail("must have \"from\", \"rows_of\", \"compute\" or \"value\"");
  }
}

ValueRule ParseValue(const Node& node) {
  ValueRule rule;
  if (node.json().is_string() || node.json().is_array()) {
    rule.from = node.Texts();
    return rule;
  }
  node.AllowOnly({"from", "rows_of", "compute", "default", "value", "optional", "when", "map"});
  ParseValueMembers(node, rule);
  return rule;
}

ValueType ParseValueType(const Node& node) {
  constexpr std::array kTypes = {ValueType::kUint32,  ValueType::kInt32, ValueType::kUint64,
                                 ValueType::kFloat32, ValueType::kBool,  ValueType::kString};
  const std::string name = node.Text();
  for (const ValueType type : kTypes) {
    if (ValueTypeName(type) == name) return type;
  }
  node.Fail("must be u32, i32, u64, f32, bool or str");
}

KeyRule ParseKey(const std::string& key, const Node& node) {
  KeyRule rule{.key = key};
  if (node.json().is_string() || node.json().is_array()) {
    rule.rule.from = node.Texts();
    return rule;
  }
  node.AllowOnly(
      {"type", "from", "rows_of", "compute", "default", "value", "optional", "when", "map"});
  if (node.Has("type")) rule.type = ParseValueType(node["type"]);
  ParseValueMembers(node, rule.rule);
  return rule;
}

TensorStep ParseSlice(const Node& node) {
  node.AllowOnly({"groups", "first", "rows"});
  if (!node.Has("rows")) node.Fail("must have \"rows\", how many to take");
  const auto formula = [&](const char* key, const char* otherwise) {
    return node.Has(key) ? ParseFormula(node[key]) : std::string(otherwise);
  };
  return {.kind = TensorStep::Kind::kSlice,
          .groups = formula("groups", "1"),
          .first = formula("first", "0"),
          .rows = formula("rows", "")};
}

TensorStep ParseStep(const Node& node) {
  if (node.json() == "transpose") return {.kind = TensorStep::Kind::kTranspose};
  if (node.json() == "add_one") return {.kind = TensorStep::Kind::kAddOne};
  if (node.json().is_object() && node.json().size() == 1) {
    if (node.Has("permute_rope")) {
      return {.kind = TensorStep::Kind::kPermuteRope, .count = node["permute_rope"].Text()};
    }
    if (node.Has("slice")) return ParseSlice(node["slice"]);
    if (node.Has("ungroup")) {
      const Node pair = node["ungroup"];
      if (!pair.json().is_array() || pair.json().size() != 2 ||
          !pair.Item(1).json().is_number_unsigned() || pair.Item(1).json() == 0) {
        pair.Fail("must be [name of the number of groups, parts of a group]");
      }
      return {.kind = TensorStep::Kind::kUngroup,
              .count = pair.Item(0).Text(),
              .parts = pair.Item(1).json().get<uint64_t>()};
    }
  }
  node.Fail(
      "must be \"transpose\", \"add_one\", {\"permute_rope\": heads}, {\"slice\": {...}} or "
      "{\"ungroup\": [groups, parts]}");
}

void ParseTensorSource(const Node& node, TensorRule& rule) {
  using Kind = TensorRule::Kind;
  int sources = 0;
  const auto take = [&](const char* key, Kind kind) {
    if (!node.Has(key)) return;
    ++sources;
    rule.kind = kind;
    rule.sources = node[key].Texts();
    for (const auto& source : rule.sources) {
      const bool expert = source.find("{e}") != std::string::npos;
      if (kind != Kind::kValues && expert != (kind == Kind::kStack || kind == Kind::kJoin)) {
        node[key].Fail("{e} belongs into the pattern of a \"stack\" or \"join\", and only there");
      }
      if (kind != Kind::kValues && (source.find("{i}") == std::string::npos) !=
                                       (rule.target.find("{i}") == std::string::npos)) {
        node[key].Fail("{i} must be in both the source's and the target's name, or in neither");
      }
    }
  };
  take("from", Kind::kFrom);
  take("stack", Kind::kStack);
  take("join", Kind::kJoin);
  take("values", Kind::kValues);
  if (node.Has("generate")) {
    ++sources;
    rule.kind = Kind::kLlama3RopeFactors;
    if (node["generate"].Text() != "llama3_rope_factors") {
      node["generate"].Fail("must be \"llama3_rope_factors\"");
    }
  }
  if (sources != 1) {
    node.Fail("must have one of \"from\", \"stack\", \"join\", \"values\", \"generate\"");
  }
  if (rule.kind == Kind::kJoin && !node.Has("shape")) {
    node.Fail("a \"join\" must have a \"shape\", which says how its parts are split");
  }
}

TensorRule ParseTensor(const std::string& target, const Node& node) {
  TensorRule rule{.target = target};
  if (node.json().is_string() || node.json().is_array()) {
    const Ordered wrapped = {{"from", node.json()}};
    // The wrapped value's path ends in ".from", which is where an object would have it, too.
    static const std::string kNoFile;
    try {
      ParseTensorSource(Node(wrapped, kNoFile, ""), rule);
    } catch (const Error& error) {
      node.Fail(error.message(), error.code());
    }
    return rule;
  }
  node.AllowOnly({"from", "stack", "join", "values", "generate", "count", "group", "apply", "shape",
                  "optional", "when"});
  ParseTensorSource(node, rule);
  if (node.Has("count")) rule.count = node["count"].Text();
  if (node.Has("group")) rule.group = node["group"].Text();
  if (node.Has("apply")) {
    const Node steps = node["apply"];
    if (steps.json().is_array()) {
      for (size_t i = 0; i < steps.json().size(); ++i)
        rule.apply.push_back(ParseStep(steps.Item(i)));
    } else {
      rule.apply.push_back(ParseStep(steps));
    }
  }
  if (node.Has("shape")) {
    const Node shape = node["shape"];
    if (!shape.json().is_array()) shape.Fail("must be a list of formulas, outermost first");
    for (size_t i = 0; i < shape.json().size(); ++i) {
      rule.shape.push_back(ParseFormula(shape.Item(i)));
    }
  }
  if (node.Has("optional")) rule.optional = node["optional"].Bool();
  if (node.Has("when")) rule.when = ParseConditions(node["when"]);
  return rule;
}

NoteRule ParseNote(const Node& node) {
  node.AllowOnly({"text", "when"});
  if (!node.Has("text")) node.Fail("must have a \"text\"");
  NoteRule note{.text = node["text"].Text()};
  if (node.Has("when")) note.when = ParseConditions(node["when"]);
  return note;
}

// Puts a named rule where the base has one of this name (null takes that out), else at the end.
template <typename Rule, typename Parse>
void Merge(const Node& node, std::vector<Rule>& rules, std::string Rule::*name,
           const Parse& parse) {
  node.Members([&](const std::string& key, const Node& value) {
    const auto at = std::find_if(rules.begin(), rules.end(),
                                 [&](const Rule& rule) { return rule.*name == key; });
    if (value.is_null()) {
      if (at == rules.end()) value.Fail("is null, but the file that this one extends has no such");
      rules.erase(at);
    } else if (at != rules.end()) {
      *at = parse(key, value);
    } else {
      rules.push_back(parse(key, value));
    }
  });
}

void Append(const Node& node, std::vector<std::string>& texts) {
  for (auto& text : node.Texts()) texts.push_back(std::move(text));
}

// The name of a file without its extension, since one architecture may have a file for each layout;
// else that of an architecture, for files that are called otherwise.
const Architecture& BaseNamed(const Node& node, std::span<const Architecture> known) {
  const std::string name = node.Text();
  for (const auto& architecture : known) {
    if (std::filesystem::path(architecture.file).stem() == name) return architecture;
  }
  for (const auto& architecture : known) {
    if (architecture.name == name) return architecture;
  }
  node.Fail(fmt::format("there is no architecture \"{}\"; `quern architectures` lists them",
                        Printable(name)),
            ErrorCode::kMissing);
}

// One of the texts that stand for `values`, in their order.
template <typename Enum, size_t n>
void ParseChoice(const Node& graph, const char* key, const std::array<std::string_view, n>& texts,
                 Enum& value) {
  if (!graph.Has(key)) return;
  const auto at = std::find(texts.begin(), texts.end(), graph[key].Text());
  if (at == texts.end()) graph[key].Fail(fmt::format("must be one of: {}", fmt::join(texts, ", ")));
  value = static_cast<Enum>(at - texts.begin());
}

double ParseNumber(const Node& node, double max) {
  if (!node.json().is_number()) node.Fail("must be a number");
  const double number = node.json().get<double>();
  if (!(number >= 0 && number <= max)) node.Fail(fmt::format("must be from 0 to {}", max));
  return number;
}

// Laid over the base's graph, member by member. Texts stand in the order of the enumerations.
GraphRules ParseGraph(const Node& graph, const GraphRules& base) {
  using Texts2 = std::array<std::string_view, 2>;
  using Texts3 = std::array<std::string_view, 3>;
  graph.AllowOnly({"norm", "norm_place", "qk_norm", "rope", "residual", "gated", "activation",
                   "embedding_norm", "learned_positions", "scales", "normalize_experts",
                   "shared_expert", "alibi_max_bias", "sliding_window_period"});
  GraphRules rules = base;
  ParseChoice(graph, "norm", Texts2{"rms", "layer"}, rules.norm);
  ParseChoice(graph, "norm_place", Texts2{"before", "after"}, rules.norm_place);
  ParseChoice(graph, "qk_norm", Texts3{"none", "optional", "always"}, rules.qk_norm);
  ParseChoice(graph, "rope", Texts3{"none", "interleaved", "halves"}, rules.rope);
  ParseChoice(graph, "activation", Texts2{"silu", "gelu"}, rules.activation);
  ParseChoice(graph, "residual",
              std::array<std::string_view, 4>{"sequential", "parallel", "by_key", "by_norm"},
              rules.residual);
  const auto flag = [&](const char* key, bool& value) {
    if (graph.Has(key)) value = graph[key].Bool();
  };
  flag("gated", rules.gated);
  flag("embedding_norm", rules.embedding_norm);
  flag("learned_positions", rules.learned_positions);
  flag("scales", rules.scales);
  flag("normalize_experts", rules.normalize_experts);
  flag("shared_expert", rules.shared_expert);
  if (graph.Has("alibi_max_bias")) {
    rules.alibi_max_bias = ParseNumber(graph["alibi_max_bias"], 1000);
  }
  if (graph.Has("sliding_window_period")) {
    const Node period = graph["sliding_window_period"];
    if (!period.json().is_number_unsigned()) period.Fail("must be a whole number");
    rules.sliding_window_period = static_cast<uint32_t>(ParseNumber(period, 1 << 20));
  }
  return rules;
}

ExportRule ParseExport(const Node& node) {
  node.AllowOnly({"architecture", "config", "when"});
  if (!node.Has("architecture")) node.Fail("must have an \"architecture\"");
  ExportRule rule{.architecture = node["architecture"].Text()};
  if (node.Has("when")) rule.when = ParseConditions(node["when"]);
  if (node.Has("config")) {
    node["config"].Members([&](const std::string& name, const Node& value) {
      NamedValue named{name, {}};
      if (value.json().is_object()) {
        named.rule = ParseValue(value);
      } else {
        named.rule.fallback = Plain(value.json());
      }
      rule.config.push_back(std::move(named));
    });
  }
  return rule;
}

void ParseMembers(const Node& root, Architecture& architecture) {
  if (root.Has("accepts")) architecture.accepts = root["accepts"].Texts();
  if (root.Has("tokenizer")) {
    architecture.tokenizer = root["tokenizer"].Text();
    constexpr std::array<std::string_view, 5> kKinds = {"auto", "gpt2", "sentencepiece", "meta",
                                                        "ggml"};
    if (std::find(kKinds.begin(), kKinds.end(), architecture.tokenizer) == kKinds.end()) {
      root["tokenizer"].Fail("must be auto, gpt2, sentencepiece, meta or ggml");
    }
  }
  if (root.Has("optional_prefix")) architecture.optional_prefix = root["optional_prefix"].Text();
  if (root.Has("requires")) {
    for (auto& condition : ParseConditions(root["requires"])) {
      auto& known = architecture.conditions;
      std::erase_if(known, [&](const Condition& base) { return base.name == condition.name; });
      known.push_back(std::move(condition));
    }
  }
  if (root.Has("strip")) Append(root["strip"], architecture.strip);
  if (root.Has("ignore")) Append(root["ignore"], architecture.ignore);
  if (root.Has("keep_f32")) Append(root["keep_f32"], architecture.keep_f32);
  if (root.Has("notes")) {
    const Node notes = root["notes"];
    if (!notes.json().is_array()) notes.Fail("must be a list of notes");
    for (size_t i = 0; i < notes.json().size(); ++i) {
      architecture.notes.push_back(ParseNote(notes.Item(i)));
    }
  }
  if (root.Has("spelling")) Append(root["spelling"], architecture.spelling);
  if (root.Has("exports")) {
    const Node exports = root["exports"];
    if (!exports.json().is_array()) exports.Fail("must be a list");
    for (size_t i = 0; i < exports.json().size(); ++i) {
      architecture.exports.push_back(ParseExport(exports.Item(i)));
    }
  }
  if (root.Has("hyperparameters")) {
    Merge(root["hyperparameters"], architecture.values, &NamedValue::name,
          [](const std::string& name, const Node& node) {
            return NamedValue{name, ParseValue(node)};
          });
  }
  if (root.Has("keys")) Merge(root["keys"], architecture.keys, &KeyRule::key, ParseKey);
  if (root.Has("tensors")) {
    Merge(root["tensors"], architecture.tensors, &TensorRule::target, ParseTensor);
  }
  if (root.Has("graph")) {
    architecture.graph = ParseGraph(root["graph"], architecture.graph.value_or(GraphRules{}));
  }
}

}  // namespace

Architecture ParseArchitecture(std::string_view text, const std::string& file,
                               std::span<const Architecture> known) {
  ParseJson(text, file, {.comments = true});  // for its checks; an ordered parse follows
  const Ordered json = Ordered::parse(text, nullptr, true, true);
  const Node root(json, file, "");
  root.AllowOnly({"name", "extends", "accepts", "requires", "tokenizer", "optional_prefix", "strip",
                  "hyperparameters", "keys", "tensors", "ignore", "keep_f32", "graph", "notes",
                  "exports", "spelling"});
  Architecture architecture;
  if (root.Has("extends")) architecture = BaseNamed(root["extends"], known);
  architecture.accepts.clear();
  architecture.exports.clear();
  architecture.file = file;
  if (!root.Has("name")) root.Fail("must have a \"name\", the value of general.architecture");
  architecture.name = root["name"].Text();
  ParseMembers(root, architecture);
  return architecture;
}

}  // namespace quern::converters
