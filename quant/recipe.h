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
  bool only_copy = false;        // COPY: every tensor stays as it is, and so does the file type
};

std::span<const FileType> FileTypes();
// By llama-quantize's names, ignoring case, aliases ("q4_k" = Q4_K_M) and ids ("15") included. Null
// for others.
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
  uint32_t head_count = 0;     // of the first layer, where layers differ
  uint32_t head_count_kv = 0;  // likewise; head_count where the metadata does not say
  uint32_t expert_count = 0;
};
// Absent keys count as 0. Throws kBadType, kBadValue for a key that is no count.
ModelFacts FactsFrom(const Metadata& metadata);

// The value of general.file_type in a file that COPY writes: the source's own, or, where it has
// none, the type of most tensors marked as a guess (bit 1024). `tensors` in QuantizeOrder.
uint32_t CopiedFileType(const Metadata& metadata, std::span<const RecipeTensor> tensors);

// The value of general.file_type in a file whose types no recipe chose: the file type of the type
// that most bytes have, marked as a guess (bit 1024). `tensors` have the types that are written.
uint32_t DominantFileType(std::span<const RecipeTensor> tensors);

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
  // The tensor must have an entry in the importance matrix: llama.cpp refuses to quantize without.
  bool requires_imatrix = false;
  // The tensor's nature or an option decided, not the file type: a size target must not change it.
  bool fixed = false;
};

// Types that are worthless without importance values: llama.cpp refuses to make them without.
bool NeedsImportance(TensorType type);

// Positions of `tensors` in the order in which llama.cpp stores (and counts) them: tensors outside
// blocks first, then by block number, then by name.
std::vector<size_t> QuantizeOrder(std::span<const RecipeTensor> tensors);

// One choice per tensor, for tensors in QuantizeOrder. Throws kUsage for a bad regex, for a type
// that needs an importance matrix when has_imatrix is false, and where a quantized source would be
// requantized without allow_requantize; kBadShape where no fall-back exists; kBadValue where the
// layer of an expert tensor cannot be told; kBadType where integers would have to be quantized.
std::vector<TypeChoice> ChooseTypes(const FileType& file_type, const ModelFacts& facts,
                                    std::span<const RecipeTensor> tensors,
                                    const RecipeOptions& options);

// Throws kUsage where `tensor` is quantized already and may not be quantized again (to anything but
// its own type), kBadType where it holds no numbers that can be quantized.
void RequireQuantizable(const RecipeTensor& tensor, const RecipeOptions& options);

// Throws kUnsupported, naming the tensor, where a choice that is no copy has a type for which this
// build has no codec that can write. Separate, so that recipes can be shown without codecs.
void RequireCodecs(std::span<const RecipeTensor> tensors, std::span<const TypeChoice> choices);

}  // namespace quern::quant

#endif  // QUERN_QUANT_RECIPE_H_
