// The format of torch.save before 1.6: five pickles in a row, then the storages.
//
//  pickle   magic number 0x1950a86a20f9469cfc6c
//  pickle   protocol version 1001
//  pickle   dict about the system that wrote it (nothing in it matters: data is little-endian)
//  pickle   the object; storages are persistent ids
//  pickle   list of storage keys
//  per key  u64 elements, then elements * element size bytes
//
// The older tar form (before 0.1.10) is recognized and refused.
#ifndef QUERN_FORMATS_TORCH_LEGACY_FORMAT_H_
#define QUERN_FORMATS_TORCH_LEGACY_FORMAT_H_

#include <string_view>
#include <vector>

#include "formats/core/file.h"
#include "formats/torch/pickle_value.h"

namespace quern::formats::torch {

// Whether a file that begins with `head` is a pickle, of whatever protocol and content, that may be
// this format.
bool LooksLikeLegacy(std::string_view head);
// Whether it is the tar of PyTorch before 0.1.10.
bool LooksLikeTar(std::string_view head);

struct LegacyFile {
  Value root;
  std::vector<uint64_t> storage_offsets;  // of each of the heap's storages, in the file
};

// Reads the pickles into `heap` and finds the storages. Throws what Machine throws, and kBadMagic
// (some other pickle), kBadVersion, kMissing, kUnexpected, kDuplicate (storage keys), kMismatch
// (sizes), kTruncated, kUnusedBytes.
LegacyFile ReadLegacy(const File& file, Heap& heap, bool allow_opaque);

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_LEGACY_FORMAT_H_
