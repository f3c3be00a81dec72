// What GGML files of before GGUF do not say, and the architectures need to know.
#ifndef QUERN_CONVERTERS_LEGACY_GGML_H_
#define QUERN_CONVERTERS_LEGACY_GGML_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/core/json.h"
#include "formats/core/metadata.h"
#include "formats/core/model.h"

namespace quern::converters {

// Options of llama.cpp's convert_llama_ggml_to_gguf.py, with its defaults.
struct GgmlOptions {
  std::optional<uint32_t> gqa;             // --gqa: heads per K/V head; found from the tensors
  std::optional<double> eps;               // --eps: 5e-6
  std::optional<uint32_t> context_length;  // --context-length: 2048
  bool given() const { return gqa || eps || context_length; }
};

// The header's numbers of a "ggml" source with what it lacks: "n_ff" and "n_head_kv" from the first
// layer's tensors, "norm_eps" and "context_length" from the options. Throws kUnsupported for
// whisper and RWKV models, kMissing where the first layer's tensors are missing (a vocabulary by
// itself has none and passes with `vocab_only`), kBadValue for options that contradict the tensors.
Json GgmlConfig(const ModelSource& source, const GgmlOptions& options, bool vocab_only,
                std::vector<std::string>& notes);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_LEGACY_GGML_H_
