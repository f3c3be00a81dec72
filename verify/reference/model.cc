#include "verify/reference/model.h"

#include "converters/architecture.h"

namespace quern::verify {

ReferenceModel OpenReferenceModel(const std::filesystem::path& path,
                                  const formats::OpenOptions& open,
                                  const converters::ConvertOptions& options) {
  ReferenceModel reference;
  reference.source = formats::OpenModel(path, open);
  reference.model = converters::Convert(*reference.source, options);
  reference.rules = converters::FindGraph(reference.model.architecture, options.architecture_files);
  return reference;
}

}  // namespace quern::verify
