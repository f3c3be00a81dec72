// What an importance matrix knows nothing, or little, about.
#ifndef QUERN_VERIFY_IMATRIX_COVERAGE_H_
#define QUERN_VERIFY_IMATRIX_COVERAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "converters/output_model.h"
#include "formats/imatrix/imatrix_sums.h"

namespace quern::verify {

// The mean of so many squares of a normal variable is uncertain by an eighth, sqrt(2 / 128).
inline constexpr int64_t kRareTokens = 128;

// Experts that share a router: the tensors of a layer have the same counts.
struct ExpertCoverage {
  std::vector<std::string> tensors;
  std::vector<int64_t> counts;  // tokens of each expert
  std::vector<size_t> unseen;   // experts without any, which are quantized as if all columns
                                // mattered the same
  std::vector<size_t> rare;     // with fewer than kRareTokens
};

struct ImatrixCoverage {
  std::vector<std::string> without_data;  // matrices, in the model's order
  std::vector<ExpertCoverage> experts;    // where some are unseen or rare, by name
};

// Without a model, `without_data` are the entries that have none.
ImatrixCoverage MeasureCoverage(const formats::imatrix::ImatrixSums& sums,
                                const converters::OutputModel* model);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_IMATRIX_COVERAGE_H_
