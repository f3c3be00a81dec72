// A tiktoken vocabulary from any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/meta/tiktoken.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  quern::formats::meta::LooksLikeTiktoken(text);
  try {
    quern::formats::meta::TiktokenMerges(quern::formats::meta::ParseTiktoken(text, "fuzz"));
  } catch (const quern::Error&) {
  }
  return 0;
}
