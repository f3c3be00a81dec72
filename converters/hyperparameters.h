// A model's hyperparameters under the names that architecture files use.
//
// The names of an architecture file's "hyperparameters" come first, then those of the model's
// config: nested objects by dots ("rope_scaling.factor"), a text_config over the top level, and two
// derived objects, as llama.cpp's converter builds them: $rope (rotary parameters of full
// attention: rope_parameters or rope_scaling, with rope_theta and rope_type) and $rope_swa (of
// sliding-window attention). JSON null counts as absent.
#ifndef QUERN_CONVERTERS_HYPERPARAMETERS_H_
#define QUERN_CONVERTERS_HYPERPARAMETERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "converters/architecture.h"
#include "formats/core/json.h"
#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::converters {

// The config's "architectures" (of its text_config if that has its own), first entry. Throws
// kMissing.
std::string HfArchitecture(const Json& config, const std::string& file);

class Hyperparameters {
 public:
  // `architecture` must outlive the object, and `source` (for values that tensors' shapes give), if
  // there is one; `file` stands for the config in errors.
  Hyperparameters(const Json& config, const Architecture& architecture, std::string file,
                  const ModelSource* source = nullptr);

  // A value by name; absent where there is none. Errors as ValueOf.
  std::optional<Json> Find(std::string_view name) const { return Find(name, 0); }
  // A count (block_count, heads, ...): whole, not negative, below 2^32. Throws kMissing, kBadValue.
  uint64_t Count(std::string_view name) const;
  double Number(std::string_view name) const { return Number(name, 0); }
  double Compute(std::string_view formula) const { return Compute(formula, 0); }
  // A formula's value as a count of rows. Throws kBadValue.
  uint64_t WholeNumber(const std::string& formula) const;
  bool Holds(const Conditions& conditions) const;
  // The name of a value that is there and is none that the architecture "requires", if there is
  // one.
  std::optional<std::string> Unmet() const;

  // What a rule gives; absent only where it is optional or its condition does not hold. Throws
  // kMissing (naming the keys that were looked for), kBadValue, kUnsupported (a text that "map"
  // does not know).
  std::optional<Json> ValueOf(const ValueRule& rule, std::string_view subject) const {
    return ValueOf(rule, subject, 0);
  }

  // Appends the keys of the architecture.
  void AppendKeys(Metadata& metadata) const;
  // Appends its notes for the user that hold for this model.
  void AppendNotes(std::vector<std::string>& notes) const;

  const std::string& file() const { return file_; }

 private:
  // `depth` bounds definitions that refer to each other.
  std::optional<Json> Find(std::string_view name, int depth) const;
  std::optional<Json> ValueOf(const ValueRule& rule, std::string_view subject, int depth) const;
  double Number(std::string_view name, int depth) const;
  double Compute(std::string_view formula, int depth) const;
  bool Holds(const Conditions& conditions, int depth) const;
  bool IsDefined(std::string_view name) const;
  std::optional<Json> RowsOf(const std::string& pattern) const;
  const Json* InConfig(std::string_view path) const;
  void DeriveRope();

  Json config_;
  const Architecture& architecture_;
  std::string file_;
  const ModelSource* source_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_HYPERPARAMETERS_H_
