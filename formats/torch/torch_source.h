// PyTorch files as models: what torch.save writes, since 1.6 (a zip) and before (five pickles).
//
// Zip: ANY_FOLDER/data.pkl is the pickle, ANY_FOLDER/data/KEY the bytes of a storage,
// ANY_FOLDER/byteorder "little" or "big". Other members are not looked at. Content decides, not the
// extension: .pt .pth .bin .ckpt .th and none are all the same.
//
// Nothing in the pickle is ever executed (pickle_machine.h). Tensors are views of storages; Read()
// gives their contiguous bytes straight from the file. Metadata:
//   pytorch.container     "zip" or "legacy"
//   pytorch.root          the prefix of the model's own names, by the rule of state_dict.h
//   pytorch.placeholders  array of "path: class", with allow_opaque
// Refused with kUnsupported when they are among the tensors asked for: complex, quantized and
// sparse tensors (with allow_opaque they count as placeholders). TorchScript programs are refused.
#ifndef QUERN_FORMATS_TORCH_TORCH_SOURCE_H_
#define QUERN_FORMATS_TORCH_TORCH_SOURCE_H_

#include <memory>
#include <string_view>
#include <vector>

#include "formats/core/strided_view.h"
#include "formats/reader.h"
#include "formats/torch/pickle_value.h"
#include "formats/torch/state_dict.h"
#include "formats/zip/zip_archive.h"

namespace quern::formats::torch {

// One file by itself; opened through kFormat, it has the side files of its folder as well.
class TorchSource : public ModelSource {
 public:
  explicit TorchSource(const std::filesystem::path& path, const OpenOptions& options = {});

  std::string_view format() const override { return "pytorch"; }
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override;
  void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const override;

 private:
  // Where a storage's bytes are: a zip member, or an offset in a legacy file.
  struct Place {
    const zip::Member* member = nullptr;
    uint64_t offset = 0;
  };
  struct View {
    StridedView view;
    uint32_t storage = 0;
  };

  Value LoadZip(Heap& heap, bool allow_opaque);
  Value LoadLegacy(Heap& heap, bool allow_opaque);
  void PlaceStorages(const Heap& heap, std::string_view folder);
  void List(Heap& heap, Value root, const OpenOptions& options);
  void AddView(const Heap& heap, const NamedTensor& named, std::string_view prefix);
  const View& ViewOf(const TensorInfo& tensor) const;

  std::unique_ptr<zip::Archive> archive_;
  std::vector<Place> places_;  // of the heap's storages
  std::vector<View> views_;    // of tensors(), coalesced
  bool big_endian_ = false;
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_TORCH_SOURCE_H_
