// The header of one GGUF file, versions 1 to 3, both byte orders: parsed and validated once.
//
//  field         version 1  2 and 3  content
//  magic            4          4     "GGUF"
//  version          u32        u32   a big-endian file has it in big-endian (version 3 only)
//  tensor count     u32        u64
//  key count        u32        u64
//  per key          string, u32 type, value; an array is u32 item type, count, items
//  per tensor       string, u32 dimension count, dimensions (innermost first), u32 type, u64 offset
//  zero bytes to the next multiple of the alignment; there the data begins
// Counts, lengths of strings and dimensions are u32 in version 1 and u64 since. Offsets count from
// the start of the data; each tensor begins at the next aligned offset after the one before it.
//
// Everything is checked against the bytes that exist before it is allocated. Non-goals: sets of
// split files (gguf_reader.h), what keys mean (gguf_checks.h).
#ifndef QUERN_FORMATS_GGUF_GGUF_HEADER_H_
#define QUERN_FORMATS_GGUF_GGUF_HEADER_H_

#include <bit>
#include <cstdint>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::formats::gguf {

struct Header {
  uint32_t version = 0;
  std::endian endian = std::endian::little;  // of the whole file, tensor data included
  uint64_t alignment = 0;
  uint64_t data_begin = 0;  // offset in the file
  Metadata metadata;        // in the file's order
  // In the file's order, dimensions outermost first and as many as stored, `offset` in the file
  // and inside it, `file` 0. Names are unique, data in this order and without overlap or hole.
  std::vector<TensorInfo> tensors;
};

// Parses all that `reader` covers: one GGUF file, whole. Tensor data itself is not read. Throws
//   kBadMagic, kBadVersion  not GGUF, or a version that does not exist
//   kTruncated              counts, lengths or data beyond the end
//   kLimitExceeded          more than gguf_format.h allows
//   kBadType, kBadValue, kBadText, kBadShape, kDuplicate   keys, values and tensors; kBadValue also
//                           for an unaligned offset and for data out of order
//   kMismatch               version and counts in different byte orders
//   kOutOfBounds, kOverlap, kUnusedBytes   tensor data that leaves the file, shares bytes or leaves
//                           a hole; bytes after the last padding; files joined end to end
Header ParseHeader(ByteReader& reader);

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_HEADER_H_
