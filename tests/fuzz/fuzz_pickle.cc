// Any bytes as a pickle, strictly and with placeholders, and what it built as a tree of tensors.
#include <algorithm>
#include <span>

#include "formats/torch/pickle_machine.h"
#include "formats/torch/state_dict.h"

namespace {

namespace torch = quern::formats::torch;

void Unpickle(std::span<const uint8_t> bytes, bool allow_opaque) {
  torch::Heap heap("fuzz", uint64_t{8} << 20);
  torch::PickleInput input(
      [&](uint64_t offset, std::span<uint8_t> out) {
        std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
      },
      bytes.size(), {"fuzz", 0, {}});
  try {
    const torch::Value root = torch::Machine(input, heap, {.allow_opaque = allow_opaque}).Run();
    const torch::Listing listing = torch::ListTensors(heap, root);
    torch::ModelPrefix(heap, root, listing);
  } catch (const quern::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Unpickle({data, size}, false);
  Unpickle({data, size}, true);
  return 0;
}
