// How the tokenizer.json files of known families split text, as data: to recognize them by, and to
// write them again.
//
// The patterns are those of the families' own files, as llama.cpp's src/llama-vocab.cpp quotes
// them; the name is of a family whose expressions llama.cpp splits by.
#ifndef QUERN_CONVERTERS_TOKENIZER_PRE_FORMS_H_
#define QUERN_CONVERTERS_TOKENIZER_PRE_FORMS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "formats/core/json.h"

namespace quern::converters {

struct PreStep {
  enum class Kind : uint8_t {
    kSplit,        // at matches of `pattern`, which become pieces
    kDigits,       // each digit by itself
    kDigitRuns,    // runs of digits
    kPunctuation,  // runs of punctuation
    kGpt2,         // by GPT-2's pattern, then bytes to characters
    kBytes,        // bytes to characters
  };
  Kind kind;
  std::string_view pattern = {};
};

struct PreForm {
  std::string_view name;                // value of tokenizer.ggml.pre
  std::string_view ignore_merges_name;  // where the model has ignore_merges; may be empty
  std::string_view normalizer;          // a type without arguments; empty: none
  std::span<const PreStep> steps;
};

// The first that fits counts.
std::span<const PreForm> PreForms();

// What a tokenizer.json has under "normalizer", "pre_tokenizer" and "ignore_merges".
struct PreJson {
  Json normalizer, pre_tokenizer;
  bool ignore_merges = false;
};
PreJson JsonOf(const PreForm& form);

// For a value of tokenizer.ggml.pre: its own form, that of a name by which llama.cpp splits
// equally, or the expressions of llama.cpp. Absent where llama.cpp does not know the name or its
// tokens are no byte-level BPE's.
std::optional<PreJson> JsonOfPre(std::string_view name);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PRE_FORMS_H_
