// A llama2.c checkpoint, and its tokenizer.bin, from any bytes.
#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/core/error.h"
#include "formats/llama2c/llama2c_source.h"
#include "formats/llama2c/tokenizer_bin.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> bytes(data, size);
  try {
    quern::formats::llama2c::ParseTokenizerBin(bytes, "fuzz");
  } catch (const quern::Error&) {
  }
  try {
    const quern::testing::MemoryFile file(bytes);
    quern::formats::llama2c::Llama2cSource source(file.path());
  } catch (const quern::Error&) {
  }
  return 0;
}
