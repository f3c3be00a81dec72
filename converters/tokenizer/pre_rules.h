// What each value of tokenizer.ggml.pre means: how llama.cpp cuts text into words before byte-level
// BPE, and what else follows from the name. A table; pre_splitter.h runs it.
//
// Facts from ggml-org/llama.cpp, src/llama-vocab.cpp and src/unicode.cpp (August 2026), checked
// against the released library by tests/conformance/tokenizer_ids.py for every name.
#ifndef QUERN_CONVERTERS_TOKENIZER_PRE_RULES_H_
#define QUERN_CONVERTERS_TOKENIZER_PRE_RULES_H_

#include <span>
#include <string_view>

namespace quern::converters {

struct PreRule {
  std::string_view names;  // separated by spaces
  // Applied one after the other, each to the pieces that the one before left: a match is a piece,
  // and so is the text between two matches. Syntax: Oniguruma's; the classes are llama.cpp's
  // (pre_splitter.h).
  std::span<const std::string_view> patterns;
  bool ignore_merges = false;   // a word that is a token is taken whole
  bool add_bos = false;         // unless tokenizer.ggml.add_bos_token says otherwise
  bool always_add_bos = false;  // whatever tokenizer.ggml.add_bos_token says
  bool no_default_bos = false;  // without tokenizer.ggml.bos_token_id there is none
  bool keep_spaces = false;     // decoding does not remove spaces before punctuation
  bool raw_text = false;        // tokens are UTF-8, not bytes written as characters
  bool escape_spaces = false;   // space is written U+2581
  bool whole_newlines = false;  // a run of newlines that is a token is taken whole
};

// nullptr: llama.cpp knows no such name.
const PreRule* FindPreRule(std::string_view name);

std::span<const PreRule> PreRules();

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PRE_RULES_H_
