// NumPy's files: .npy (one array) and .npz (a zip of them), to be looked at and compared.
//
//  0  6  \x93NUMPY
//  6  2  version: 1.0, 2.0 or 3.0
//  8  2  length of the header (4 bytes from version 2.0 on)
//  .. .. header: a Python dict literal with 'descr', 'fortran_order' and 'shape', then the data
// Source: numpy/lib/format.py's documentation (NEP 1).
//
// Arrays of Python objects are pickles and refused (kUnsafe); text, dates, complex numbers and
// records are refused as unsupported. Big-endian and Fortran-ordered arrays read as any other.
// The array of a .npy file has the file's name without its extension.
#ifndef QUERN_FORMATS_NUMPY_NUMPY_SOURCE_H_
#define QUERN_FORMATS_NUMPY_NUMPY_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/model.h"
#include "formats/core/strided_view.h"
#include "formats/reader.h"
#include "formats/zip/zip_archive.h"

namespace quern::formats::numpy {

struct ArrayHeader {
  TensorType type = TensorType::kF32;
  bool big_endian = false;
  bool fortran_order = false;
  Shape shape;
};

// Longest header that is read: an honest one is about 100 bytes.
inline constexpr uint64_t kMaxHeaderBytes = 64 << 10;

// Parses the dict literal. Throws kBadText, kDuplicate, kMissing (of its three keys), kUnexpected
// (a key beside them), kUnsafe (objects), kUnsupported (other types), kBadShape; errors carry
// `where`.
ArrayHeader ParseHeader(std::string_view text, const Where& where);

class NumpySource final : public ModelSource {
 public:
  // Throws, beside the above: kBadVersion, kTruncated, kUnusedBytes, kUnexpected (a member that is
  // no .npy), and what zip::Archive throws.
  explicit NumpySource(const std::filesystem::path& path);

  std::string_view format() const override { return "numpy"; }
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override;
  void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const override;

 private:
  struct ArrayData {
    const zip::Member* member = nullptr;  // null: the file itself
    uint64_t begin = 0;                   // of the data in the member or file
    StridedView view;
  };

  void AddArray(const std::string& name, const zip::Member* member);
  // The header's text; the array's data begins at `begin` of the member's or file's `size` bytes.
  std::string HeaderText(const zip::Member* member, uint64_t size, const Where& where,
                         uint64_t& begin) const;
  void ReadFrom(const zip::Member* member, uint64_t offset, std::span<uint8_t> out) const;
  const ArrayData& DataOf(const TensorInfo& tensor) const;

  std::unique_ptr<zip::Archive> archive_;
  std::vector<ArrayData> arrays_;  // of tensors()
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::numpy

#endif  // QUERN_FORMATS_NUMPY_NUMPY_SOURCE_H_
