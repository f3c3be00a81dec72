#include "verify/written.h"

#include <fmt/format.h>

#include "formats/core/error.h"
#include "formats/reader.h"

namespace quern::verify {
namespace {

[[noreturn]] void Mismatch(const std::filesystem::path& file, const std::string& subject,
                           std::string_view what) {
  throw Error(ErrorCode::kMismatch, {file.string(), {}, subject},
              fmt::format("{} differs from the plan; the disk or this build is faulty", what));
}

}  // namespace

void CheckWritten(const std::filesystem::path& path, const converters::OutputModel& model,
                  const converters::WritePlan& plan) {
  const File file = File::Open(path);
  if (file.size() != plan.file_bytes) Mismatch(path, {}, "the size");
  std::vector<uint8_t> header(plan.header.size());
  file.ReadAt(0, header);
  if (header != plan.header) Mismatch(path, {}, "the header");

  const auto written = formats::OpenModel(path);
  if (written->tensors().size() != plan.tensors.size()) Mismatch(path, {}, "the tensor count");
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const TensorInfo& found = written->tensors()[i];
    const converters::PlannedTensor& planned = plan.tensors[i];
    const converters::OutputTensor& tensor = model.tensors[planned.tensor];
    if (found.name != tensor.name) Mismatch(path, tensor.name, "the name");
    if (found.type != planned.type) Mismatch(path, tensor.name, "the type");
    if (found.shape != planned.shape) Mismatch(path, tensor.name, "the shape");
    if (found.offset != planned.offset || found.bytes != planned.bytes) {
      Mismatch(path, tensor.name, "the place");
    }
  }
}

}  // namespace quern::verify
