// Any bytes as a GGUF file: the parser accepts them or throws quern::Error, and what it accepts can
// be written again and reads the same.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/gguf/gguf_checks.h"
#include "formats/gguf/gguf_header.h"
#include "formats/gguf/gguf_split.h"
#include "formats/gguf/gguf_writer.h"

namespace {

using quern::formats::gguf::TensorSpec;

void ReadBack(const quern::formats::gguf::Header& header) {
  std::vector<TensorSpec> specs;
  for (const auto& tensor : header.tensors) {
    specs.push_back({tensor.name, tensor.shape, tensor.type});
  }
  const auto layout = quern::formats::gguf::LayOut(header.metadata, specs);
  std::vector<uint8_t> file = layout.header;
  file.resize(layout.file_bytes);  // no more than what was accepted, padding aside
  quern::ByteReader reader(file, "rewritten");
  // Values are compared as bytes: a NaN does not equal itself.
  const auto again = quern::formats::gguf::ParseHeader(reader);
  if (quern::formats::gguf::LayOut(again.metadata, specs).header != layout.header) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::optional<quern::formats::gguf::Header> header;
  try {
    quern::ByteReader reader({data, size}, "fuzz");
    header = quern::formats::gguf::ParseHeader(reader);
    quern::formats::gguf::ReadSplitKeys(header->metadata, "fuzz");
    quern::formats::gguf::CheckTokenizer(header->metadata, "fuzz");
  } catch (const quern::Error&) {
  }
  if (header) ReadBack(*header);
  return 0;
}
