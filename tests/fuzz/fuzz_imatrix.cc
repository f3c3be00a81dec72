// The legacy form of importance matrices: any bytes give a matrix or a quern::Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/core/error.h"
#include "formats/imatrix/imatrix_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quern::ByteReader reader(std::span(data, size), "fuzz");
  try {
    (void)quern::formats::imatrix::ReadLegacyImatrix(reader);
  } catch (const quern::Error&) {
  }
  return 0;
}
