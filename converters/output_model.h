// A model in GGUF's terms, before it is decided how each tensor is stored.
#ifndef QUERN_CONVERTERS_OUTPUT_MODEL_H_
#define QUERN_CONVERTERS_OUTPUT_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "converters/expression.h"
#include "formats/core/metadata.h"

namespace quern::converters {

struct OutputTensor {
  std::string name;
  Expression value;
  // llama.cpp's converter keeps these in F32 whatever the output type is: vectors, norms, routers,
  // positions, ... (converters/architecture.h says which)
  bool keep_f32 = false;
  // The name in the whole model, where pruning has changed it: an importance matrix knows it by
  // that. Empty where it is `name`.
  std::string unpruned_name = {};
};

struct OutputModel {
  std::string architecture;  // value of general.architecture
  // Complete and in order. general.file_type is there (any value) where the output shall have it:
  // the plan sets the value.
  Metadata metadata;
  std::vector<OutputTensor> tensors;  // in the order of llama.cpp's converter
  // Precision in which llama.cpp's converter would store the weights under --outtype auto: F16 or
  // BF16 (F32 is stored as F16). Absent for a GGUF source, whose tensors have their types already.
  std::optional<TensorType> auto_type;
  // Layers that pruning has left (PruneLayers), which the plan writes into the metadata. The recipe
  // sees the whole model's, as in llama-quantize.
  std::optional<uint32_t> layers_left;
  std::vector<std::string> notes;  // for the user: what was dropped, assumed, unusual
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_OUTPUT_MODEL_H_
