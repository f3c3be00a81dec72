// Any bytes as a GGUF file that is to become a Hugging Face folder: there is a plan or an error.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "converters/huggingface_export.h"
#include "formats/core/byte_reader.h"
#include "formats/core/error.h"
#include "formats/gguf/gguf_header.h"

namespace {

// What a header describes; all data is zero.
class HeaderSource : public quern::ModelSource {
 public:
  explicit HeaderSource(quern::formats::gguf::Header header) : ModelSource("fuzz") {
    for (auto& tensor : header.tensors) AddTensor(std::move(tensor));
    metadata_ = std::move(header.metadata);
    layout_ = "gguf";
  }
  std::string_view format() const override { return "gguf"; }
  void Read(const quern::TensorInfo&, uint64_t, std::span<uint8_t> out) const override {
    std::fill(out.begin(), out.end(), uint8_t{0});
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::ByteReader reader({data, size}, "fuzz");
    const HeaderSource source(quern::formats::gguf::ParseHeader(reader));
    quern::converters::PlanHuggingFaceExport(source, {});
  } catch (const quern::Error&) {
  }
  return 0;
}
