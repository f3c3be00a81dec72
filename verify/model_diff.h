// What differs between two models: metadata, and tensors by name, type, shape and values.
//
// Two models of one layout are compared under their own names. Where the layouts differ (a GGUF
// file and a Hugging Face folder, say) both are taken in GGUF's terms, as the converter makes them.
// Weights are read in slabs, so memory does not depend on the models' size. Tensors that only one
// side has are searched for by contents: a new name is not a loss and a gain.
#ifndef QUERN_VERIFY_MODEL_DIFF_H_
#define QUERN_VERIFY_MODEL_DIFF_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "converters/converter.h"
#include "converters/output_model.h"
#include "formats/core/metadata.h"
#include "formats/core/model.h"
#include "formats/reader.h"
#include "verify/tensor_error.h"

namespace quern::verify {

struct ComparedModel {
  std::unique_ptr<ModelSource> source;  // `model` points into it
  converters::OutputModel model;
  bool converted = false;  // the names are not the source's own
};

// Opens both and decides under which names they are compared. Side files count as metadata of
// models that are not converted: config/... for the values of a config.json, file/NAME for the
// SHA-256 of others. general.file_type is left out where one side is converted, since it has none.
// Throws what OpenModel and Convert throw.
std::pair<ComparedModel, ComparedModel> OpenForDiff(const std::filesystem::path& a,
                                                    const std::filesystem::path& b,
                                                    const formats::OpenOptions& open = {},
                                                    const converters::ConvertOptions& convert = {});

struct MetadataDiff {
  std::string key;
  const Value* a = nullptr;  // null: only the other has it
  const Value* b = nullptr;
  // Of arrays of one type: the first item that differs, or the length of the shorter one.
  std::optional<uint64_t> first;
};

// Keys whose value or type differs: in a's order, then those that only b has. The order of keys
// does not count; NaN equals NaN. Points into `a` and `b`.
std::vector<MetadataDiff> DiffMetadata(const Metadata& a, const Metadata& b);

enum class TensorRelation {
  kEqualBytes,       // type and contents
  kEqualValues,      // the same weights as f32, in another type or other bytes
  kDifferentValues,  // see TensorDiff::error
  kDifferentBytes,   // of a type that cannot be decoded to f32, or of two of which one cannot
  kDifferentShape,
  kOnlyInA,
  kOnlyInB,
};

// "equal", "equal_values", "different_values", ...
std::string_view RelationName(TensorRelation relation);

struct TensorDiff {
  TensorRelation relation = TensorRelation::kEqualBytes;
  const converters::OutputTensor* a = nullptr;  // null: only the other model has it
  const converters::OutputTensor* b = nullptr;
  std::optional<TensorError> error;  // where values were compared

  const std::string& name() const { return a ? a->name : b->name; }
  bool renamed() const { return a && b && a->name != b->name; }
  // The same weights under the same name; the type may be another one.
  bool equal() const {
    return !renamed() &&
           (relation == TensorRelation::kEqualBytes || relation == TensorRelation::kEqualValues);
  }
};

struct ModelView {
  const ModelSource& source;
  const converters::OutputModel& model;
};

struct DiffOptions {
  CompareOptions compare;  // its step is not called
  // Called with the share of the work that is done, by one thread at a time; may throw.
  std::function<void(double done)> progress;
};

// All tensors: in a's order, then those that only b has. Points into the models. Throws what
// reading throws.
std::vector<TensorDiff> DiffTensors(const ModelView& a, const ModelView& b,
                                    const DiffOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_MODEL_DIFF_H_
