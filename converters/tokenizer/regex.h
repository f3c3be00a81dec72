// Regular expressions out of tokenizer files, run by Oniguruma: the engine and syntax for which
// Hugging Face's tokenizer.json patterns are written.
//
// The pattern and the text are untrusted. Backtracking is limited, so that a hostile pattern ends
// in an error, not in a hang. Thread-safe after construction.
#ifndef QUERN_CONVERTERS_TOKENIZER_REGEX_H_
#define QUERN_CONVERTERS_TOKENIZER_REGEX_H_

#include <cstddef>
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
  // Throws kBadText where the pattern is no regular expression.
  explicit Regex(std::string_view pattern);

  // Non-overlapping matches from left to right. An empty match directly after a match is passed
  // over. `text` must be valid UTF-8. Throws kLimitExceeded where the search needs more
  // backtracking than any known tokenizer.
  std::vector<TextSpan> FindAll(std::string_view text) const;

 private:
  std::string pattern_;
  std::shared_ptr<void> compiled_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_REGEX_H_
