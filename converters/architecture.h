// Architectures as data: what a file in converters/architectures/ (or --architecture FILE) says.
//
// docs/architectures.md describes the file format for those who write one. Here is its content
// after parsing: checked against the schema, `extends` resolved, every formula and pattern known to
// parse. What the names mean for one model is hyperparameters.h (values) and mapper.h (tensors).
#ifndef QUERN_CONVERTERS_ARCHITECTURE_H_
#define QUERN_CONVERTERS_ARCHITECTURE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "converters/graph_rules.h"
#include "formats/core/json.h"
#include "formats/core/metadata.h"

namespace quern::converters {

// "when": every named value is one of these; or, for a bool, is something at all: there, and not
// zero, false or empty.
struct Condition {
  std::string name;
  std::variant<bool, std::vector<Json>> accepted;
};
using Conditions = std::vector<Condition>;

// Where a value comes from, in the order in which the parts are tried.
struct ValueRule {
  std::vector<std::string> from;  // the first of these that the config has decides
  std::string rows_of;            // pattern: rows of the source tensors that match it, all together
  std::string compute;            // a formula (formula.h)
  std::optional<Json> fallback;   // "default"
  std::vector<std::pair<std::string, Json>> map;  // text values to what is stored
  bool optional = false;                          // no value: no key, instead of an error
  Conditions when;
};

struct NamedValue {
  std::string name;
  ValueRule rule;
};

struct KeyRule {
  std::string key;  // "context_length" stands for "<name>.context_length"; see FullKey
  ValueType type = ValueType::kUint32;
  ValueRule rule;
};

// One step of "apply", in order.
struct TensorStep {
  enum class Kind : uint8_t { kTranspose, kAddOne, kPermuteRope, kUngroup, kSlice };
  Kind kind;
  std::string count;   // kPermuteRope: named number of heads; kUngroup: of groups
  uint64_t parts = 0;  // kUngroup: parts of each group
  // kSlice: rows [first, first + rows) of each of `groups` equal runs of rows; formulas
  std::string groups, first, rows;
};

struct TensorRule {
  enum class Kind : uint8_t {
    kFrom,    // one source tensor
    kStack,   // one per expert
    kJoin,    // one per part of a model-parallel checkpoint, split along any axis or not at all
    kValues,  // a list of numbers in the config
    kLlama3RopeFactors,
  };
  std::string target;  // "blk.{i}.attn_q.weight"
  Kind kind = Kind::kFrom;
  std::vector<std::string> sources;    // patterns; kValues: the name of the list
  std::string count = "expert_count";  // kStack: named number of experts
  std::string group;                   // kStack: rules of one group are emitted together
  std::vector<TensorStep> apply;       // with a slice, the source may meet other such rules
  std::vector<std::string> shape;  // formulas for the target's shape, outermost first; may be empty
  bool optional = false;
  Conditions when;
};

// What the user is told where `when` holds; {name} stands for a value.
struct NoteRule {
  std::string text;
  Conditions when;
};

// How a GGUF of the architecture is written as a Hugging Face folder, beside what its keys say.
struct ExportRule {
  std::string architecture;        // for config.json's "architectures"
  std::vector<NamedValue> config;  // more of config.json
  Conditions when;
};

struct Architecture {
  std::string name;  // value of general.architecture
  std::string file;  // "llama.jsonc" of this build, or a path
  // Values of config.json's "architectures"; a source of another layout has that layout's name.
  std::vector<std::string> accepts;
  Conditions conditions;           // "requires": a value that is there must be one of these
  std::string tokenizer = "auto";  // tokenizer_metadata.h
  std::string optional_prefix;     // source names may lack this
  std::vector<std::string> strip;  // taken out of source names wherever it stands
  std::vector<NamedValue> values;  // "hyperparameters"
  std::vector<KeyRule> keys;       // in the order of the output
  std::vector<TensorRule> tensors;
  std::vector<std::string> ignore;    // globs
  std::vector<std::string> keep_f32;  // patterns of targets, beside the rules for all
  std::vector<NoteRule> notes;
  std::vector<ExportRule> exports;    // the first that holds; never inherited. None: no export
  std::vector<std::string> spelling;  // where several names mean a value, those that are written
  std::optional<GraphRules> graph;    // absent: the reference inference cannot run it
};

// Keys of the groups general. and tokenizer. are complete, others belong to the architecture.
std::string FullKey(const Architecture& architecture, std::string_view key);

// Parses one file's text. `known` are the architectures that it may extend. Throws kBadText,
// kDuplicate, kBadValue, kMissing with the file and the path of the key within it.
Architecture ParseArchitecture(std::string_view text, const std::string& file,
                               std::span<const Architecture> known);

// Those of this build, parsed once; bases that others extend included (they accept nothing).
std::span<const Architecture> BuiltInArchitectures();

// Those that accept `hf_name`, at least one: of `files` in order, then of this build. Throws
// kUnsupported with the nearest known names.
std::vector<Architecture> FindArchitectures(std::string_view hf_name,
                                            std::span<const std::filesystem::path> files);

// For a GGUF of general.architecture `name` the first, of `files` and then of this build, that has
// exports. Throws kUnsupported where there is none.
Architecture FindExport(std::string_view name, std::span<const std::filesystem::path> files);

// The graph of the first of `files`, else of this build, whose general.architecture is `name` and
// that has one. Throws kUnsupported where there is none.
GraphRules FindGraph(std::string_view name, std::span<const std::filesystem::path> files);

// For `quern architectures`.
struct ArchitectureInfo {
  std::string name;
  std::vector<std::string> accepts;
};
std::span<const ArchitectureInfo> Architectures();

// A built-in file's text, from the CMake-generated source.
struct ArchitectureFile {
  std::string_view name;
  std::string_view text;
};
std::span<const ArchitectureFile> ArchitectureFiles();

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_ARCHITECTURE_H_
