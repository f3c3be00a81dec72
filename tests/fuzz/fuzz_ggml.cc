// Any bytes as a GGML file of before GGUF.
#include <cstdint>

#include "formats/core/byte_reader.h"
#include "formats/core/error.h"
#include "formats/ggml/ggml_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::ByteReader reader({data, size}, "fuzz");
    (void)quern::formats::ggml::ParseHeader(reader);
  } catch (const quern::Error&) {
  }
  return 0;
}
