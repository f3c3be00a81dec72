#include "formats/torch/torch_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "formats/core/error.h"
#include "formats/torch/torch_source.h"

namespace quern::formats::torch {

void TorchParts::OpenParts(const std::vector<PartFile>& parts, const OpenOptions& options) {
  for (const PartFile& part : parts) {
    File::Open(part.path);  // refuses folders, which OpenModel would take
    auto source = OpenModel(part.path, options);
    if (source->format() != kFormat.name) {
      throw Error(ErrorCode::kUnexpected, {part.path.string(), {}, {}},
                  fmt::format("a file of the format \"{}\" under the name of a PyTorch file; name "
                              "that file itself to use it",
                              source->format()));
    }
    const auto first_file = static_cast<uint32_t>(files_.size());
    for (const File& file : source->files()) {
      files_.push_back(File::Open(file.path()));
      part_of_file_.push_back(static_cast<uint32_t>(parts_.size()));
    }
    std::vector<const TensorInfo*> order;
    for (const TensorInfo& tensor : source->tensors()) order.push_back(&tensor);
    std::sort(order.begin(), order.end(),
              [](const TensorInfo* a, const TensorInfo* b) { return a->name < b->name; });
    for (const TensorInfo* tensor : order) {
      TensorInfo here = *tensor;
      here.name = part.prefix + here.name;
      here.file += first_file;
      AddTensor(std::move(here));
    }
    for (const auto& [key, value] : source->metadata().entries()) {
      if (!metadata_.Has(key)) metadata_.Set(key, value);
    }
    parts_.push_back({std::move(source), part.prefix.size()});
  }
}

TorchParts::Place TorchParts::PlaceOf(const TensorInfo& tensor) const {
  const Part& part = parts_[part_of_file_[tensor.file]];
  return {*part.source,
          *part.source->FindTensor(std::string_view(tensor.name).substr(part.prefix_bytes))};
}

void TorchParts::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  const Place place = PlaceOf(tensor);
  place.source.Read(place.tensor, offset, out);
}

void TorchParts::WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const {
  const Place place = PlaceOf(tensor);
  place.source.WillNeed(place.tensor, offset, bytes);
}

}  // namespace quern::formats::torch
