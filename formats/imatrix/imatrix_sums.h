// The sums behind an importance matrix, while it is collected or merged from earlier files.
//
// A file's values are means; sums and counts can be added up, whatever the texts' lengths. Merging
// follows llama-imatrix --in-file. Non-goals: collecting (verify/imatrix_collector.h), file forms
// (imatrix_reader.h, imatrix_writer.h).
#ifndef QUERN_FORMATS_IMATRIX_IMATRIX_SUMS_H_
#define QUERN_FORMATS_IMATRIX_IMATRIX_SUMS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/imatrix/imatrix_reader.h"

namespace quern::formats::imatrix {

struct SumsEntry {
  std::vector<double> sums;     // of squares: counts.size() rows, one column per weight in a row
  std::vector<int64_t> counts;  // tokens that each row is the sum over: one row per expert, or one

  size_t columns() const { return sums.size() / counts.size(); }
};

struct ImatrixSums {
  std::map<std::string, SumsEntry, std::less<>> entries;  // by tensor name
  std::vector<std::string> datasets;                      // texts, in the order of their use
  uint32_t chunk_size = 512;                              // tokens; more than 0

  // Whole chunks in the largest count, as llama-imatrix has it.
  int64_t ChunkCount() const;
};

// The entry of `name`, made of zeros where there is none. One with a single count, as the legacy
// form keeps for a mixture too, is given that count for each of `rows`. Throws kMismatch where the
// entry has another size.
SumsEntry& EntryFor(ImatrixSums& sums, std::string_view name, size_t rows, size_t columns);

// Adds an earlier file's sums and datasets. The legacy form counts chunks, which are taken to be of
// sums.chunk_size tokens; rows that were never met add nothing. Throws kMismatch where an entry has
// another size than the one that is there, kLimitExceeded where counts overflow; both name `file`.
void AddImatrix(const Imatrix& earlier, const std::string& file, ImatrixSums& sums);

}  // namespace quern::formats::imatrix

#endif  // QUERN_FORMATS_IMATRIX_IMATRIX_SUMS_H_
