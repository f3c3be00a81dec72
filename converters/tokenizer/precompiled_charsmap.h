// SentencePiece's compiled normalization rules, as tokenizer.json carries them in base64.
//
// Layout, all little-endian (sentencepiece/src/normalizer.cc): u32 size of the trie in bytes; the
// trie, a Darts double array of u32 units; then the replacements, strings that end in a zero byte.
// A unit holds: bit 31 leaf value flag, bits 0-30 the value of a leaf; else bits 0-7 the label
// (bit 31 kept with it), bit 8 "has a leaf", bits 10-30 the offset, shifted by 8 more if bit 9.
#ifndef QUERN_CONVERTERS_TOKENIZER_PRECOMPILED_CHARSMAP_H_
#define QUERN_CONVERTERS_TOKENIZER_PRECOMPILED_CHARSMAP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quern::converters {

class PrecompiledCharsmap {
 public:
  // Throws kBadText for bad base64, kOutOfBounds where the sizes do not fit the bytes.
  explicit PrecompiledCharsmap(std::string_view base64);

  // Replaces, at each place, the longest key of the trie; the rest stays. Offsets in a hostile trie
  // that lead outside end a look-up.
  std::string Normalize(std::string_view text) const;

 private:
  struct Match {
    size_t length = 0;
    std::string_view replacement;
  };
  std::optional<Match> LongestKey(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_PRECOMPILED_CHARSMAP_H_
