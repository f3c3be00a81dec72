// Importance matrices as llama-imatrix writes them, in both file forms.
//
// For each matrix of a model: the mean of the squares of the activations that met each of its
// columns. The legacy form (.dat), little-endian:
//   i32 entries (at least 1), then per entry
//     i32 length, name, i32 calls, i32 count (at least 1), count x f32 (mean square x calls);
//   optionally i32 chunks, optionally followed by i32 length and the name of the text.
// The GGUF form: tensors NAME.in_sum2 (sums of squares, one row per expert) and NAME.counts (one
// per row), keys imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size. Source:
// https://github.com/ggml-org/llama.cpp, common/imatrix-loader.cpp and tools/quantize.
// Non-goals: which tensor uses which values (quant/imatrix.h), merging (imatrix_sums.h), writing
// (imatrix_writer.h).
#ifndef QUERN_FORMATS_IMATRIX_IMATRIX_READER_H_
#define QUERN_FORMATS_IMATRIX_IMATRIX_READER_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/core/model.h"

namespace quern::formats::imatrix {

struct ImatrixEntry {
  std::vector<float> values;    // mean squares: counts.size() rows, one column per weight in a row
  std::vector<int64_t> counts;  // what each row is the mean of: one row per expert, or one
};

struct Imatrix {
  std::map<std::string, ImatrixEntry, std::less<>>
      entries;                        // by tensor name: "blk.0.attn_k.weight"
  std::vector<std::string> datasets;  // texts that it was computed from
  uint32_t chunk_count = 0;           // 0: not known
  uint32_t chunk_size = 0;            // tokens per chunk; 0: not known
  bool counts_chunks = false;         // the legacy form's counts are of chunks, not of tokens
};

// Either form, told apart by content. Throws what the two functions below and OpenModel throw.
Imatrix ReadImatrix(const std::filesystem::path& path);

// The legacy form, from the reader's position to its end. Throws kTruncated, kBadValue, kDuplicate,
// kNonFinite, kUnusedBytes. A row that was never met (calls of 0) keeps its stored values, as in
// llama-quantize.
Imatrix ReadLegacyImatrix(ByteReader& reader);

// The GGUF form, read as a model. Throws kMissing (a key, or sums without counts), kUnexpected (a
// tensor that is neither), kBadType, kBadShape, kBadValue, kNonFinite. The values of an expert that
// was never met are 1, as in llama-quantize.
Imatrix ImatrixFromModel(const ModelSource& model);

}  // namespace quern::formats::imatrix

#endif  // QUERN_FORMATS_IMATRIX_IMATRIX_READER_H_
