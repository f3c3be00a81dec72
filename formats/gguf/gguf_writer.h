// GGUF version 3, little-endian: the header's bytes and where each tensor goes.
//
// Writing is two steps, so that the whole file is known before a byte of it exists: LayOut()
// computes the header and offsets; whoever has the data writes it there.
#ifndef QUERN_FORMATS_GGUF_GGUF_WRITER_H_
#define QUERN_FORMATS_GGUF_GGUF_WRITER_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::formats::gguf {

struct TensorSpec {
  std::string name;
  Shape shape;  // outermost first
  TensorType type;
};

struct Layout {
  std::vector<uint8_t> header;    // magic to the padding before the first tensor's data
  std::vector<uint64_t> offsets;  // absolute, one per tensor
  std::vector<uint64_t> bytes;    // of each tensor's data, without padding
  uint64_t file_bytes = 0;        // padding after the last tensor included
};

// general.alignment in `metadata` (u32, a power of two) sets the alignment, 32 otherwise. Gaps
// between tensors are zero bytes, which the caller gets by writing nothing (a fresh file is zero).
// Shapes are written as they are given. Enforces what the reader enforces: throws kBadValue,
// kBadText, kBadShape, kBadType, kDuplicate, kLimitExceeded.
Layout LayOut(const Metadata& metadata, std::span<const TensorSpec> tensors);

// `shape` without its outermost dimensions of 1, at least one kept: the dimension count that
// llama.cpp's C++ programs (quantize, gguf-split) write. Its Python converter writes them all.
Shape WithoutOuterOnes(Shape shape);

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_WRITER_H_
