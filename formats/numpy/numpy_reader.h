// numpy files as models: .npy is one tensor, named after the file; .npz a zip of .npy members, each
// a tensor named after its member. Big-endian and Fortran-order arrays read as little-endian,
// row-major bytes. There is no config: such a file can be inspected, not converted by itself.
#ifndef QUERN_FORMATS_NUMPY_NUMPY_READER_H_
#define QUERN_FORMATS_NUMPY_NUMPY_READER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/numpy/npy_header.h"
#include "formats/reader.h"
#include "formats/torch/strided_view.h"
#include "formats/zip/zip_archive.h"

namespace quern::formats::numpy {

class NumpySource : public ModelSource {
 public:
  // Throws what ParseNpyHeader() and zip::Archive throw, kUnexpected for a member of an .npz that
  // is no .npy, and kDuplicate.
  explicit NumpySource(const std::filesystem::path& path);

  std::string_view format() const override { return "numpy"; }
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override;
  void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const override;

 private:
  struct Place {
    const zip::Member* member = nullptr;  // null: the file itself
    uint64_t data_begin = 0;              // in the file or the member
    torch::StridedView view;
  };
  void Add(std::string name, const NpyHeader& header, const zip::Member* member);
  const Place& PlaceOf(const TensorInfo& tensor) const;

  std::unique_ptr<zip::Archive> archive_;
  std::vector<Place> places_;  // of tensors()
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::numpy

#endif  // QUERN_FORMATS_NUMPY_NUMPY_READER_H_
