// An Ollama manifest, and the names that it could stand under, from any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/ollama/manifest.h"
#include "formats/ollama/model_name.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    quern::formats::ollama::ParseManifests(text, "fuzz");
  } catch (const quern::Error&) {
  }
  try {
    quern::formats::ollama::ParseModelName(text);
  } catch (const quern::Error&) {
  }
  return 0;
}
