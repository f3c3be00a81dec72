// tokenizer.json, and the index of a sharded model, from any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/huggingface/folder_reader.h"
#include "formats/huggingface/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    quern::formats::huggingface::ParseTokenizerJson(text, "fuzz");
  } catch (const quern::Error&) {
  }
  try {
    quern::formats::huggingface::ParseIndex(text, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
