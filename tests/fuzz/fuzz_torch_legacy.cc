// Any bytes as a PyTorch file, legacy or zip: opened with placeholders, and its tensors read.
#include <algorithm>
#include <vector>

#include "formats/torch/torch_source.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const quern::testing::MemoryFile memory({data, size});
  try {
    const quern::formats::torch::TorchSource source(memory.path(), {.allow_opaque = true});
    std::vector<uint8_t> buffer;
    for (const auto& tensor : source.tensors()) {
      buffer.resize(std::min<uint64_t>(tensor.bytes, 4096));
      source.Read(tensor, tensor.bytes - buffer.size(), buffer);
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
