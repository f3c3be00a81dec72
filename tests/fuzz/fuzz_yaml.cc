// YAML (litgpt's model_config.yaml, front matter) from any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/core/yaml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::ParseYaml({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
