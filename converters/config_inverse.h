// The way back: from a GGUF's metadata to a Hugging Face config.json.
//
// An architecture file's keys read backwards: a value goes under the name it would be read from
// ("spelling" chooses among several), what a formula gives anyway is not written, and of a formula
// with one unknown the plainest number that gives the value. Sizes that no key says come from the
// tensors' shapes. Non-goals: token ids (tokenizer/tokenizer_export.h).
#ifndef QUERN_CONVERTERS_CONFIG_INVERSE_H_
#define QUERN_CONVERTERS_CONFIG_INVERSE_H_

#include <string>
#include <vector>

#include "converters/architecture.h"
#include "formats/core/json.h"
#include "formats/core/model.h"

namespace quern::converters {

// Without "architectures" where no export of the architecture holds. What cannot come back is for
// UnequalKeys() to find, but for tensors that the config should give and cannot: those are noted.
Json InvertConfig(const ModelSource& gguf, const Architecture& architecture,
                  std::vector<std::string>& notes);

// The architecture's own keys ("llama.*") that converting with `config` would not give as they are
// in the GGUF: absent, new, or other. Throws what computing them throws.
std::vector<std::string> UnequalKeys(const ModelSource& gguf, const Architecture& architecture,
                                     const Json& config);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_CONFIG_INVERSE_H_
