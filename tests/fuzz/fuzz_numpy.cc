// Any bytes as a .npy or .npz file: opened, and the first bytes of every array read.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "formats/numpy/numpy_source.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const quern::testing::MemoryFile memory({data, size});
  try {
    const quern::formats::numpy::NumpySource source(memory.path());
    std::vector<uint8_t> buffer(256);
    for (const auto& tensor : source.tensors()) {
      source.Read(tensor, 0, std::span(buffer).first(std::min<uint64_t>(256, tensor.bytes)));
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
