// The plan: everything about an output that can be known before a byte of it is written.
//
// A plan is computed from headers only and does not change afterwards. Every executor that runs it
// writes the same bytes. It holds each tensor's type and why that type was chosen, its file, offset
// and size, and each file's header and exact size. A model is one file or a set of shards.
#ifndef QUERN_CONVERTERS_PLAN_H_
#define QUERN_CONVERTERS_PLAN_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "converters/output_model.h"
#include "converters/split.h"
#include "formats/core/json.h"
#include "quant/imatrix.h"
#include "quant/recipe.h"

namespace quern::converters {

// Types that were chosen one by one (size_target.h), in place of a file type's.
struct TypeSelection {
  std::string type_name;                   // WritePlan::type_name
  uint32_t file_type = 0;                  // the value of general.file_type
  std::vector<quant::TypeChoice> choices;  // for InputOfQuantizer's tensors
  std::vector<std::string> notes;
};

struct PlanOptions {
  // Null is "auto": the precision of the source, as llama.cpp's converter chooses it; a GGUF
  // source keeps its tensors' types.
  const quant::FileType* file_type = nullptr;
  // Precision between source and blocks. llama.cpp quantizes from a file that its converter has
  // written, so F32 weights pass through F16 (auto_type); equal bytes need the same rounding.
  std::optional<TensorType> via;
  quant::RecipeOptions recipe;  // has_imatrix follows `imatrix`
  // Importance of the columns, for the types that use it. Outlives the plan; null for none.
  const quant::Imatrix* imatrix = nullptr;
  std::string imatrix_file;  // its name, for the metadata
  // Keys that get these values, last in the metadata; the recipe sees them.
  std::vector<Metadata::Entry> overrides;
  bool strict = false;  // a fall-back to another type is an error
  SplitOptions split;
  const TypeSelection* selection = nullptr;  // outlives the plan; file_type is not used then
};

// The tensors as llama.cpp's quantizer finds them in the file that its converter wrote.
struct QuantizerInput {
  std::vector<size_t> order;                 // indices into OutputModel::tensors
  std::vector<quant::RecipeTensor> tensors;  // in that order
};
QuantizerInput InputOfQuantizer(const OutputModel& model, const PlanOptions& options);

// PlannedTensor::via of a tensor that the converter's file stores as `stored` and that becomes
// another type: the rounding that storing would have done, where it does anything.
std::optional<TensorType> RoundingBefore(TensorType value, TensorType stored);

struct PlannedTensor {
  size_t tensor = 0;  // index into OutputModel::tensors
  TensorType type = TensorType::kF32;
  Shape shape;                    // as it is stored
  std::optional<TensorType> via;  // weights are rounded to this type before they become blocks
  // One row of values per matrix of the tensor (one per expert); empty to quantize without.
  std::span<const float> importance;
  std::string reason;     // the rule that chose `type`
  bool fallback = false;  // the row size forced another type than the recipe's
  uint32_t file = 0;      // index into WritePlan::files
  uint64_t offset = 0;    // from the beginning of that file
  uint64_t bytes = 0;
};

struct PlannedFile {
  std::vector<uint8_t> header;  // written at offset 0
  uint64_t bytes = 0;           // of the whole file
};

struct WritePlan {
  std::string type_name;               // "Q4_K_M", "BF16", ...: names the file
  Metadata metadata;                   // of the model; the files' own split.* keys are not in it
  std::vector<PlannedFile> files;      // one, or the shards of a set
  bool named_as_shards = false;        // see FilePath()
  std::vector<std::string> names;      // of the files, if the output is a folder of them
  std::vector<PlannedTensor> tensors;  // in file order, one file after the other
  uint64_t file_bytes = 0;             // of all files
  std::vector<std::string> notes;      // for the user
};

// Whether the tensor was quantized in the source and is quantized again: it loses precision twice.
bool IsRequantized(const OutputModel& model, const PlannedTensor& planned);

// Throws what quant::ChooseTypes and gguf::LayOut throw, kUsage where a
// key is overridden twice, and kUnsupported where a tensor's source type cannot be decoded or, with
// `strict`, where a row size forces another type than the recipe's.
WritePlan MakePlan(const OutputModel& model, const PlanOptions& options);

// Where file `file` of the plan goes if the output is to be `output`: there, or for shards to
// NAME-00001-of-00003.gguf beside it, NAME being the name of `output` without ".gguf"; files that
// have names of their own go into the folder `output`.
std::filesystem::path FilePath(const WritePlan& plan, const std::filesystem::path& output,
                               size_t file);

// The plan as `--dry-run --json` prints it (docs/json.md).
Json PlanToJson(const OutputModel& model, const WritePlan& plan);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_PLAN_H_
