// Everything of Convert() but the tokenizer, for those who have none or bring their own.
#ifndef QUERN_CONVERTERS_CONVERSION_H_
#define QUERN_CONVERTERS_CONVERSION_H_

#include <optional>

#include "converters/converter.h"
#include "converters/output_model.h"
#include "converters/tokenizer/tokenizer_metadata.h"
#include "formats/core/model.h"

namespace quern::converters {

struct Conversion {
  OutputModel model;  // complete up to general.quantization_version
  // What the architecture says of the tokenizer; absent where the model has its keys already (GGUF)
  std::optional<TokenizerOptions> tokenizer;
};

// Errors as Convert().
Conversion ConvertModel(const ModelSource& source, const ConvertOptions& options);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_CONVERSION_H_
