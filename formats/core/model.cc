#include "formats/core/model.h"

#include "formats/core/error.h"

namespace quern {

void ModelSource::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  files_[tensor.file].ReadAt(tensor.offset + offset, out);
}

void ModelSource::WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const {
  files_[tensor.file].WillNeed(tensor.offset + offset, bytes);
}

const TensorInfo* ModelSource::FindTensor(std::string_view name) const {
  const auto at = by_name_.find(std::string(name));
  return at == by_name_.end() ? nullptr : &tensors_[at->second];
}

void ModelSource::AddTensor(TensorInfo tensor) {
  if (!by_name_.emplace(tensor.name, tensors_.size()).second) {
    const std::string file =
        tensor.file < files_.size() ? files_[tensor.file].path() : path_.string();
    throw Error(ErrorCode::kDuplicate, {file, {}, tensor.name}, "this tensor is listed twice");
  }
  tensors_.push_back(std::move(tensor));
}

}  // namespace quern
