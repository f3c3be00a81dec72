// Pieces of tokens, as they come, to text that can be shown: whole characters of UTF-8 only.
#ifndef QUERN_CONVERTERS_TOKENIZER_TEXT_STREAM_H_
#define QUERN_CONVERTERS_TOKENIZER_TEXT_STREAM_H_

#include <string>
#include <string_view>

namespace quern::converters {

class TextStream {
 public:
  // What can be shown after one more piece. The beginning of a character is held back until the
  // rest of it comes; bytes that belong to none become U+FFFD.
  std::string Add(std::string_view piece);
  // What is left: U+FFFD for the beginning of a character whose rest never came.
  std::string Finish();

 private:
  std::string held_;
};

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_TEXT_STREAM_H_
