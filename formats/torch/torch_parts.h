// Several torch files as one model: the base of layouts that are folders of .pth files.
//
// With one part the tensors have their own names; with more, "NAME/tensor" tells them apart,
// because every part has a piece of each. What the pieces make up together is the converters'
// affair. Parts are listed in order, tensors within a part by name, in byte order.
#ifndef QUERN_FORMATS_TORCH_TORCH_PARTS_H_
#define QUERN_FORMATS_TORCH_TORCH_PARTS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/model.h"
#include "formats/reader.h"

namespace quern::formats::torch {

class TorchParts : public ModelSource {
 public:
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override;
  void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const override;

 protected:
  using ModelSource::ModelSource;

  struct PartFile {
    std::filesystem::path path;
    std::string prefix;  // of its tensors' names: "consolidated.1/", or empty
  };
  // Opens all parts, once. Throws what the files' own reader throws, kUnexpected for a part that is
  // no PyTorch file.
  void OpenParts(const std::vector<PartFile>& parts, const OpenOptions& options);

 private:
  struct Part {
    std::unique_ptr<ModelSource> source;
    size_t prefix_bytes;
  };
  struct Place {
    const ModelSource& source;
    const TensorInfo& tensor;
  };
  Place PlaceOf(const TensorInfo& tensor) const;

  std::vector<Part> parts_;
  std::vector<uint32_t> part_of_file_;  // for each of files()
};

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_TORCH_PARTS_H_
