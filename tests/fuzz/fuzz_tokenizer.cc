// Any bytes as tokenizer.json, then everything that a conversion does with it.
#include <cstdint>
#include <string_view>
#include <vector>

#include "converters/tokenizer/hf_encoder.h"
#include "converters/tokenizer/pre_type.h"
#include "converters/tokenizer/vocabulary.h"
#include "formats/core/error.h"
#include "formats/huggingface/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern::converters;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    TransformersTokenizer tokenizer;
    tokenizer.json = quern::formats::huggingface::ParseTokenizerJson(text, "fuzz");
    tokenizer.frames = {{}};
    (void)ByteLevelTokens(tokenizer, 0);
    (void)ByteFallbackTokens(tokenizer, 0);
    (void)HfEncoder(tokenizer.json).Encode(text);
    std::vector<std::string> notes;
    (void)FindPreType(tokenizer, notes);
  } catch (const quern::Error&) {
  }
  return 0;
}
