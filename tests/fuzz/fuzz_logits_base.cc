// Any bytes as a base file of log-probabilities: opened, and every row read.
#include <cstdint>
#include <vector>

#include "formats/core/error.h"
#include "formats/logits_base/logits_base.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const quern::testing::MemoryFile memory({data, size});
  try {
    const quern::formats::logits_base::LogitsBaseReader reader(memory.path());
    std::vector<float> row(reader.dimensions().vocabulary);
    for (uint64_t i = 0; i < reader.dimensions().positions(); ++i) reader.Read(i, row);
  } catch (const quern::Error&) {
  }
  return 0;
}
