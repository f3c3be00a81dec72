// Recipes: which tensor gets which type, for every file type of llama-quantize.
//
// Choices equal llama.cpp v0.5.0's, per tensor. Rules are data or small functions; each choice
// carries the rule that made it, so that a plan can explain itself.
#ifndef QUERN_QUANT_RECIPE_H_
#define QUERN_QUANT_RECIPE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/core/metadata.h"
#include "formats/core/model.h"
#include "formats/core/tensor_type.h"

namespace quern::quant {

// A file type: llama.cpp's LLAMA_FTYPE_*, the value of general.file_type.
struct FileType {
  std::string_view name;         // "Q4_K_M"
  uint32_t id;                   // 15
  TensorType base;               // the type of a tensor that no rule singles out
  std::string_view description;  // one line for `quern types`
};

std::span<const FileType> FileTypes();
// By llama-quantize's names, ignoring case, aliases included ("q4_k" = Q4_K_M).
const FileType* FindFileType(std::string_view name);

struct RecipeTensor {
  std::string name;
  Shape shape;      // outermost first
  TensorType type;  // as the source holds it
};

// What the rules need to know of the model, from its GGUF metadata.
struct ModelFacts {
  std::string architecture;
  uint32_t block_count = 0;
  uint32_t head_count = 0;
  uint32_t head_count_kv = 0;
  uint32_t expert_count = 0;
};
ModelFacts FactsFrom(const Metadata& metadata);

// llama-quantize's options under their own names.
struct RecipeOptions {
  bool pure = false;
  bool leave_output_tensor = false;
  bool allow_requantize = false;
  bool has_imatrix = false;
  std::optional<TensorType> output_tensor_type;
  std::optional<TensorType> token_embedding_type;
  std::vector<std::pair<std::string, TensorType>>
      tensor_types;  // regex, type; the first match wins
};

struct TypeChoice {
  TensorType type;        // equal to the source's where the tensor is copied as it is
  std::string reason;     // "Q4_K_M: attn_v in more-bits layers -> Q6_K"
  bool fallback = false;  // the row size forced another type than the recipe's
};

// Positions of `tensors` in the order in which llama.cpp stores (and counts) them: tensors outside
// blocks first, then by block number, then by name.
std::vector<size_t> QuantizeOrder(std::span<const RecipeTensor> tensors);

// One choice per tensor, for tensors in QuantizeOrder. Throws kUsage for a bad regex or impossible
// combination, kUnsupported for a type that needs an importance matrix when has_imatrix is false
// or that quern cannot write, kBadShape where no fall-back exists, and kUsage where a quantized
// source would be requantized without allow_requantize.
std::vector<TypeChoice> ChooseTypes(const FileType& file_type, const ModelFacts& facts,
                                    std::span<const RecipeTensor> tensors,
                                    const RecipeOptions& options);

}  // namespace quern::quant

#endif  // QUERN_QUANT_RECIPE_H_
