#include <cstdint>
#include <string_view>

#include "converters/architecture.h"
#include "converters/hyperparameters.h"
#include "converters/model_id.h"
#include "formats/core/error.h"

// An architecture file from anywhere, used on an empty config; and the same bytes as a model's
// name.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  quern::converters::IdToTitle(text);
  quern::converters::SplitModelId(text, 1'000'000'000);
  try {
    const auto architecture = quern::converters::ParseArchitecture(
        text, "fuzz", quern::converters::BuiltInArchitectures());
    quern::Metadata metadata;
    const quern::Json config = {{"num_hidden_layers", 2}, {"hidden_size", 8}, {"vocab_size", 9}};
    quern::converters::Hyperparameters(config, architecture, "config").AppendKeys(metadata);
  } catch (const quern::Error&) {
  }
  return 0;
}
