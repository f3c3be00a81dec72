// Any bytes as the header of a NumPy array.
#include "formats/core/error.h"
#include "formats/numpy/numpy_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::formats::numpy::ParseHeader({reinterpret_cast<const char*>(data), size}, {});
  } catch (const quern::Error&) {
  }
  return 0;
}
