// Proves that a GGUF was made from given weights: makes every tensor again and compares.
//
// The output's own types are the plan: each tensor is evaluated from the source (renamed, permuted,
// joined, as the architecture says), rounded as the converter rounds, coded in the type that the
// output has, and compared byte for byte. What differs in all of its coding is measured instead:
// another program or an unknown importance matrix chooses other scales, but the weights must still
// be within the error that the type allows. A tensor of which most blocks are byte for byte right
// and some are not was changed: nothing codes blocks of one tensor in two ways.
// Memory is a few slabs of rows per thread.
// Non-goals: metadata, whose differences are notes; pruned models.
#ifndef QUERN_VERIFY_AGAINST_H_
#define QUERN_VERIFY_AGAINST_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "converters/executor.h"
#include "converters/output_model.h"
#include "formats/core/model.h"
#include "quant/imatrix.h"

namespace quern::verify {

enum class Verdict : uint8_t {
  kEqual,        // byte for byte what the source gives
  kWithinBound,  // other bytes, every block within kBoundFactor
  kDiffers,
  kMissing,     // the source has it, the output lacks it
  kUnexpected,  // the output has it and the source does not
};
// "equal", "within_bound", "differs", "missing", "unexpected".
std::string_view VerdictName(Verdict verdict);
inline bool Holds(Verdict verdict) { return verdict <= Verdict::kWithinBound; }

// A block's root mean square error may be this many times that of coding the block here; of plain
// floats, each weight may be off by one unit in the last place.
inline constexpr double kBoundFactor = 1.5;

struct TensorComparison {
  std::string name;
  TensorType type = TensorType::kF32;  // in the output
  Verdict verdict = Verdict::kEqual;
  std::string how;     // equal: which rounding and importance gave these bytes
  std::string detail;  // otherwise: what differs, where
  uint64_t blocks = 0;
  uint64_t different_blocks = 0;
  double relative_rmse = 0;  // where measured: against the source's weights
};

struct AgainstOptions {
  int threads = 0;
  const quant::Imatrix* imatrix = nullptr;  // that the output was made with; null for none
  std::function<void(const converters::Progress&)> progress = {};  // by one thread at a time
};

struct AgainstReport {
  std::vector<TensorComparison> tensors;  // in the output's order, then those that it lacks
  std::vector<std::string> notes;         // keys that differ
  uint64_t bytes = 0;                     // of the output's tensors
  bool Holds() const;
};

// `model` is what `source` is in GGUF's terms. Throws what reading throws.
AgainstReport CompareWithSource(const ModelSource& output, const ModelSource& source,
                                const converters::OutputModel& model,
                                const AgainstOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_AGAINST_H_
