// Text to words as llama.cpp's pre-tokenizers cut it: runs a row of pre_rules.h.
//
// llama.cpp matches most patterns not on the text but on one byte per character: ASCII stays as it
// is, other white space becomes a vertical tab, everything else the number of its class. \p{L},
// \p{N}, \p{P}, \p{S}, \p{M} name those classes, \p{Han} the ideographs' blocks; \s, \d and \b know
// ASCII only. Patterns that name characters beyond ASCII see the characters, and
// white space beyond ASCII as a vertical tab. (ggml-org/llama.cpp: src/unicode.cpp; its tables are
// Unicode 15.1)
// Immutable and thread-safe.
#ifndef QUERN_CONVERTERS_TOKENIZER_PRE_SPLITTER_H_
#define QUERN_CONVERTERS_TOKENIZER_PRE_SPLITTER_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "converters/tokenizer/pre_rules.h"
#include "converters/tokenizer/regex.h"

namespace quern::converters {

// What the patterns see of a character. The values beyond ASCII are bytes that stand in the text.
enum CharacterClass : uint8_t {
  kClassSpace = 0x0b,
  kClassOther = 0xd0,
  kClassNumber,
  kClassLetter,
  kClassPunctuation,
  kClassMark,
  kClassSymbol,
  kClassHanLetter,
  kClassHanOther,  // in the blocks of ideographs, and not assigned
};

// For characters beyond ASCII; an ASCII character stands for itself.
uint8_t ClassOf(char32_t c);

class PreSplitter {
 public:
  explicit PreSplitter(const PreRule& rule);

  // Lengths of the words, in characters; they add up to the text, and none is 0. Throws
  // kLimitExceeded (Regex).
  std::vector<size_t> Split(std::span<const char32_t> text) const;

 private:
  struct Step {
    Regex regex;
    bool by_class;
  };
  std::vector<Step> steps_;
};

// UTF-8 as llama.cpp decodes it, which is more than is well-formed: surrogates and overlong forms
// count. Each other malformed byte is U+FFFD. (llama.cpp ends the program at what would be beyond
// U+10FFFF; here it is malformed too.)
std::vector<char32_t> DecodeLenientUtf8(std::string_view text);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PRE_SPLITTER_H_
