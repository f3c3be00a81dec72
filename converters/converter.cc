#include "converters/converter.h"

#include "converters/conversion.h"
#include "converters/tokenizer/vocabulary_source.h"

namespace quern::converters {

OutputModel Convert(const ModelSource& source, const ConvertOptions& options) {
  auto [model, tokenizer] = ConvertModel(source, options);
  if (options.vocab_from) {
    TakeTokenizer(*options.vocab_from, tokenizer.value_or(TokenizerOptions{.pre = options.pre}),
                  model.metadata, model.notes);
    return model;
  }
  if (tokenizer) AddTokenizerMetadata(source, *tokenizer, model.metadata, model.notes);
  return model;
}

}  // namespace quern::converters
