// A model card with front matter from any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/huggingface/front_matter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    quern::formats::huggingface::ParseFrontMatter(text, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
