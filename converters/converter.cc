#include "converters/converter.h"

#include "converters/conversion.h"

namespace quern::converters {

OutputModel Convert(const ModelSource& source, const ConvertOptions& options) {
  auto [model, tokenizer] = ConvertModel(source, options);
  if (tokenizer) AddTokenizerMetadata(source, *tokenizer, model.metadata, model.notes);
  return model;
}

}  // namespace quern::converters
