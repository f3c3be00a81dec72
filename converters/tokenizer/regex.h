// Regular expressions of tokenizers, run by Oniguruma: the engine and syntax for which Hugging
// Face's tokenizer.json patterns are written.
//
// The pattern and the text are untrusted. Backtracking is limited, so that a hostile pattern ends
// in an error, not in a hang. Thread-safe after construction.
#ifndef QUERN_CONVERTERS_TOKENIZER_REGEX_H_
#define QUERN_CONVERTERS_TOKENIZER_REGEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quern::converters {

// Bytes [begin, end) of a text.
struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const TextSpan&) const = default;
};

class Regex {
 public:
  // What one character of the text is. kByte and kUtf32 (host order) are for text of ours, where
  // \s, \d, \w and \b know ASCII only.
  enum class Unit : uint8_t { kUtf8, kByte, kUtf32 };

  // `pattern` is UTF-8 whatever the unit. Throws kBadText where it is no regular expression.
  explicit Regex(std::string_view pattern, Unit unit = Unit::kUtf8);

  // Non-overlapping matches from left to right. An empty match directly after a match is passed
  // over. `text` must be valid UTF-8. Throws kLimitExceeded where the search needs more
  // backtracking than any known tokenizer.
  std::vector<TextSpan> FindAll(std::string_view text) const;

  // Cuts pieces of `text`, of these lengths in bytes from its begin on, before and after each
  // match; a piece is a text of its own to the expression. Gives the lengths, none of them 0.
  // Throws as FindAll does.
  std::vector<size_t> Split(std::string_view text, const std::vector<size_t>& lengths) const;

 private:
  class Search;
  template <typename OnMatch>
  void ForEachMatch(Search& search, std::string_view text, const OnMatch& on_match) const;

  std::string pattern_;
  Unit unit_;
  std::shared_ptr<void> compiled_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_REGEX_H_
