#include "verify/imatrix_coverage.h"

#include <algorithm>

namespace quern::verify {
namespace {

using formats::imatrix::ImatrixSums;
using formats::imatrix::SumsEntry;

bool HasData(const SumsEntry& entry) {
  return std::any_of(entry.counts.begin(), entry.counts.end(), [](int64_t n) { return n > 0; });
}

// Norms and other vectors are never quantized.
bool IsMatrix(const converters::OutputTensor& tensor) {
  return tensor.value.shape.size() > 1 && tensor.name.ends_with(".weight") && !tensor.keep_f32;
}

std::vector<std::string> WithoutData(const ImatrixSums& sums,
                                     const converters::OutputModel* model) {
  std::vector<std::string> names;
  if (model == nullptr) {
    for (const auto& [name, entry] : sums.entries) {
      if (!HasData(entry)) names.push_back(name);
    }
    return names;
  }
  for (const converters::OutputTensor& tensor : model->tensors) {
    if (!IsMatrix(tensor)) continue;
    const auto entry = sums.entries.find(tensor.name);
    if (entry == sums.entries.end() || !HasData(entry->second)) names.push_back(tensor.name);
  }
  return names;
}

}  // namespace

ImatrixCoverage MeasureCoverage(const ImatrixSums& sums, const converters::OutputModel* model) {
  ImatrixCoverage coverage{WithoutData(sums, model), {}};
  for (const auto& [name, entry] : sums.entries) {
    if (entry.counts.size() == 1) continue;
    ExpertCoverage experts{{name}, entry.counts, {}, {}};
    for (size_t e = 0; e < entry.counts.size(); ++e) {
      if (entry.counts[e] == 0) experts.unseen.push_back(e);
      if (entry.counts[e] > 0 && entry.counts[e] < kRareTokens) experts.rare.push_back(e);
    }
    if (experts.unseen.empty() && experts.rare.empty()) continue;
    // By name, the tensors of a layer are neighbours.
    if (!coverage.experts.empty() && coverage.experts.back().counts == entry.counts) {
      coverage.experts.back().tensors.push_back(name);
    } else {
      coverage.experts.push_back(std::move(experts));
    }
  }
  return coverage;
}

}  // namespace quern::verify
