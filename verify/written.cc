#include "verify/written.h"

#include <fmt/format.h>

#include "formats/core/error.h"
#include "formats/gguf/gguf_checks.h"
#include "formats/gguf/gguf_header.h"

namespace quern::verify {
namespace {

[[noreturn]] void Mismatch(const std::filesystem::path& file, const std::string& subject,
                           std::string_view what) {
  throw Error(ErrorCode::kMismatch, {file.string(), {}, subject},
              fmt::format("{} differs from the plan; the disk or this build is faulty", what));
}

}  // namespace

void CheckWritten(const std::filesystem::path& path, const converters::OutputModel& model,
                  const converters::WritePlan& plan, size_t file) {
  const converters::PlannedFile& expected = plan.files[file];
  const File written = File::Open(path);
  if (written.size() != expected.bytes) Mismatch(path, {}, "the size");
  std::vector<uint8_t> bytes(expected.header.size());
  written.ReadAt(0, bytes);
  if (bytes != expected.header) Mismatch(path, {}, "the header");

  ByteReader reader(written);
  const formats::gguf::Header header = formats::gguf::ParseHeader(reader);
  if (file == 0) formats::gguf::CheckTokenizer(header.metadata, path.string());
  auto found = header.tensors.begin();
  for (const converters::PlannedTensor& planned : plan.tensors) {
    if (planned.file != file) continue;
    const converters::OutputTensor& tensor = model.tensors[planned.tensor];
    if (found == header.tensors.end()) Mismatch(path, tensor.name, "the tensor count");
    if (found->name != tensor.name) Mismatch(path, tensor.name, "the name");
    if (found->type != planned.type) Mismatch(path, tensor.name, "the type");
    if (found->shape != planned.shape) Mismatch(path, tensor.name, "the shape");
    if (found->offset != planned.offset || found->bytes != planned.bytes) {
      Mismatch(path, tensor.name, "the place");
    }
    ++found;
  }
  if (found != header.tensors.end()) Mismatch(path, {}, "the tensor count");
}

}  // namespace quern::verify
