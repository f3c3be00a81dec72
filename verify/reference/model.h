// A model opened for the reference inference: from a GGUF, or straight from any source that convert
// reads.
#ifndef QUERN_VERIFY_REFERENCE_MODEL_H_
#define QUERN_VERIFY_REFERENCE_MODEL_H_

#include <filesystem>
#include <memory>

#include "converters/converter.h"
#include "converters/graph_rules.h"
#include "converters/output_model.h"
#include "formats/core/model.h"
#include "formats/reader.h"

namespace quern::verify {

struct ReferenceModel {
  std::unique_ptr<ModelSource> source;  // `model` points into it
  converters::OutputModel model;
  converters::GraphRules rules;
};

// Throws what OpenModel, Convert and FindGraph throw: an architecture that the reference cannot run
// is refused before any work starts.
ReferenceModel OpenReferenceModel(const std::filesystem::path& path,
                                  const formats::OpenOptions& open = {},
                                  const converters::ConvertOptions& options = {});

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_MODEL_H_
