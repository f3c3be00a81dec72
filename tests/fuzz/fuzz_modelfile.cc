// An Ollama Modelfile from any bytes; what it says is written and read back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/core/error.h"
#include "formats/ollama/modelfile.h"

namespace ollama = quern::formats::ollama;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const ollama::Modelfile file = ollama::ParseModelfile(text, "fuzz");
    try {
      if (ollama::ParseModelfile(ollama::ModelfileText(file), "again") != file) std::abort();
    } catch (const quern::Error& error) {
      if (error.code() != quern::ErrorCode::kUnsupported) std::abort();
    }
    ollama::ParametersJson(file, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
