// JSON from any bytes; comments are accepted for every other length.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/core/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    quern::ParseJson(text, "fuzz", {.comments = size % 2 == 0});
  } catch (const quern::Error&) {
  }
  return 0;
}
