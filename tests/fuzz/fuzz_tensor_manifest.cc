// A manifest of tensors, JSON or text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/core/error.h"
#include "verify/tensor_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto& tensor : quern::verify::ParseTensorManifest(text, "fuzz")) {
      if (tensor.sha256.size() != 64) std::abort();
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
