// Importance matrices in both of llama-imatrix's file forms (imatrix_reader.h draws them).
#ifndef QUERN_FORMATS_IMATRIX_IMATRIX_WRITER_H_
#define QUERN_FORMATS_IMATRIX_IMATRIX_WRITER_H_

#include <cstdint>
#include <filesystem>
#include <vector>

#include "formats/core/output_file.h"
#include "formats/imatrix/imatrix_sums.h"

namespace quern::formats::imatrix {

enum class ImatrixForm { kGguf, kLegacy };

// The file's bytes. The legacy form leaves out entries without any data, gives experts that were
// never met the value 1 (as readers of the GGUF form do), has one count per entry and names one
// text, the last. Throws kMissing where there is nothing to write, kNonFinite for sums that f32
// cannot hold, kLimitExceeded for counts that the form cannot hold, and what gguf::LayOut throws.
std::vector<uint8_t> EncodeImatrix(const ImatrixSums& sums, ImatrixForm form);

// The same into a file that appears only when it is complete. Throws as OutputFile besides.
void WriteImatrix(const ImatrixSums& sums, ImatrixForm form, const std::filesystem::path& path,
                  const OutputOptions& options);

}  // namespace quern::formats::imatrix

#endif  // QUERN_FORMATS_IMATRIX_IMATRIX_WRITER_H_
