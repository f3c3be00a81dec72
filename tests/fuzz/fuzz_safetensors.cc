// A safetensors file: the first 8 bytes are the number of data bytes (shifted), the rest is the
// header.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "formats/core/error.h"
#include "formats/safetensors/safetensors_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t data_bytes = 0;
  if (size < sizeof(data_bytes)) return 0;
  std::memcpy(&data_bytes, data, sizeof(data_bytes));
  data_bytes >>= 16;  // files of up to 256 TiB
  const std::string_view json(reinterpret_cast<const char*>(data) + sizeof(data_bytes),
                              size - sizeof(data_bytes));
  try {
    const auto header = quern::formats::safetensors::ParseHeader(json, data_bytes, "fuzz");
    // What it promises: every tensor lies in the file.
    const uint64_t end = sizeof(data_bytes) + json.size() + data_bytes;
    for (const auto& tensor : header.tensors) {
      if (tensor.offset > end || tensor.bytes > end - tensor.offset) std::abort();
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
