// Drift against a base file (formats/logits_base) in place of a reference model, and writing one:
// what llama-perplexity does with --kl-divergence-base.
//
// Figures from a base file are those that llama-perplexity computes from it: its probabilities are
// not normalized again after the rounding to 16 bits, tokens with ln p <= -16 do not count for the
// divergence, which may so be slightly negative, and of tokens that round to the same top
// probability the first is the top one. The candidates' side is exact f32 arithmetic, as
// everywhere.
#ifndef QUERN_VERIFY_LOGITS_BASE_H_
#define QUERN_VERIFY_LOGITS_BASE_H_

#include <cstdint>
#include <filesystem>
#include <span>

#include "formats/core/output_file.h"
#include "formats/logits_base/logits_base.h"
#include "verify/drift.h"
#include "verify/evaluation.h"
#include "verify/perplexity.h"

namespace quern::verify {

// Measures the perplexity and writes what it was computed from. The file's size is known, and its
// space checked, before work starts. Throws as MeasurePerplexity and OutputFile.
PerplexityResult WriteLogitsBase(const ReferenceModel& model, std::span<const int32_t> tokens,
                                 EvaluationOptions options, const std::filesystem::path& path,
                                 const OutputOptions& output);

// Of the options' protocol only max_windows counts: the file has the context, and each candidate's
// vocabulary says what begins a window, as in llama-perplexity. Candidates run one after the other.
// Throws as MeasurePerplexity, kMismatch where a candidate has another number of tokens, and what
// reading the file throws.
DriftResult MeasureDriftFromBase(const formats::logits_base::LogitsBaseReader& base,
                                 std::span<const ReferenceModel> candidates,
                                 const EvaluationOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_LOGITS_BASE_H_
