// Headers of .npy files, versions 1.0 to 3.0.
//
//  offset size field
//       0    6 magic    "\x93NUMPY"
//       6    2 version  major, minor
//       8    2 length   u16 (version 1) or u32 (4 bytes; versions 2 and 3), little-endian
//      10+     dict     Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), },
//                       then spaces and a newline; the data follow
//
// Source: numpy, numpy/lib/format.py (NEP 1). The literal is parsed for exactly these three keys
// and never evaluated. Non-goals: structured types, strings, dates; Python objects are pickles and
// are refused.
#ifndef QUERN_FORMATS_NUMPY_NPY_HEADER_H_
#define QUERN_FORMATS_NUMPY_NPY_HEADER_H_

#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/core/model.h"
#include "formats/core/tensor_type.h"

namespace quern::formats::numpy {

inline constexpr std::string_view kMagic = "\x93NUMPY";
inline constexpr uint64_t kMaxHeaderBytes = 1 << 16;  // of the literal; plain types need 128
inline constexpr uint64_t kHeadBytes = kMaxHeaderBytes + 12;
inline constexpr size_t kMaxDimensions = 64;  // NPY_MAXDIMS of numpy 2

struct NpyHeader {
  TensorType type = TensorType::kF32;
  Shape shape;
  bool fortran_order = false;  // the first dimension is the innermost in the file
  bool big_endian = false;
  uint64_t data_begin = 0;  // bytes from the start of the file
  uint64_t data_bytes = 0;
};

// Parses the header of a file of `size` bytes whose first min(size, kHeadBytes) are `head`; `where`
// names the file or member in errors. Throws kBadMagic, kBadVersion, kTruncated, kLimitExceeded,
// kBadText, kBadType, kBadShape, kDuplicate, kMissing, kUnusedBytes (data longer than the shape),
// kUnsafe (Python objects), kUnsupported (other types than numbers).
NpyHeader ParseNpyHeader(std::string_view head, uint64_t size, const Where& where);

}  // namespace quern::formats::numpy

#endif  // QUERN_FORMATS_NUMPY_NPY_HEADER_H_
