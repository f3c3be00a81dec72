// tokenizer.model from any bytes; and the same bytes as a normalization table, which protobuf
// framing would otherwise keep the fuzzer from reaching.
#include <cstddef>
#include <cstdint>

#include "formats/core/error.h"
#include "formats/huggingface/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::formats::huggingface::ParseSentencePieceModel({data, size}, "fuzz");
  } catch (const quern::Error&) {
  }
  try {
    quern::formats::huggingface::ValidateCharsMap({data, size}, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
