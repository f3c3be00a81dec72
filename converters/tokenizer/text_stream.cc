#include "converters/tokenizer/text_stream.h"

#include <utility>

#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

// Whether more bytes could make a character of `rest`. Which second bytes are allowed depends on
// the first; each of them allows the least or the greatest of all.
bool BeginsCharacter(std::string_view rest) {
  for (const char* filler : {"\x80\x80\x80", "\xbf\xbf\xbf"}) {
    if (Utf8SequenceLength(std::string(rest) + filler, 0) > rest.size()) return true;
  }
  return false;
}

}  // namespace

std::string TextStream::Add(std::string_view piece) {
  held_ += piece;
  size_t end = 0;
  while (end < held_.size()) {
    const size_t length = Utf8SequenceLength(held_, end);
    if (length == 0 && BeginsCharacter(std::string_view(held_).substr(end))) break;
    end += length == 0 ? 1 : length;
  }
  std::string shown = ReplaceInvalidUtf8(std::string_view(held_).substr(0, end));
  held_.erase(0, end);
  return shown;
}

std::string TextStream::Finish() {
  return std::exchange(held_, {}).empty() ? std::string() : std::string("\xef\xbf\xbd");
}

}  // namespace quern::converters
