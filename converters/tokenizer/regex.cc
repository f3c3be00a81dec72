#include "converters/tokenizer/regex.h"

#include <oniguruma.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

// Failed attempts that one match, and one search over a text, may cost. The patterns of known
// tokenizers need a handful per match; (a+)+$ on a line of 30 letters needs a billion.
constexpr unsigned long kRetriesPerMatch = 1'000'000;
constexpr unsigned long kRetriesPerSearch = 4'000'000;
constexpr unsigned int kStackEntries = 1'000'000;

const OnigEncoding kUtf32 =
    std::endian::native == std::endian::little ? ONIG_ENCODING_UTF32_LE : ONIG_ENCODING_UTF32_BE;

OnigEncoding EncodingOf(Regex::Unit unit) {
  switch (unit) {
    case Regex::Unit::kByte:
      return ONIG_ENCODING_ASCII;
    case Regex::Unit::kUtf32:
      return kUtf32;
    case Regex::Unit::kUtf8:
      break;
  }
  return ONIG_ENCODING_UTF8;
}

const OnigUChar* Raw(std::string_view text) {
  return reinterpret_cast<const OnigUChar*>(text.data());
}

std::string Describe(int code, OnigErrorInfo* info = nullptr) {
  OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length = info != nullptr ? onig_error_code_to_str(buffer, code, info)
                                     : onig_error_code_to_str(buffer, code);
  return std::string(reinterpret_cast<const char*>(buffer), static_cast<size_t>(length));
}

void InitializeOnce() {
  static const int initialized = [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8, ONIG_ENCODING_ASCII, kUtf32};
    return onig_initialize(encodings, 3);
  }();
  if (initialized != ONIG_NORMAL)
    throw Error(ErrorCode::kIo, {}, "Oniguruma cannot start: " + Describe(initialized));
}

}  // namespace

// Limits and result of the searches over one text.
class Regex::Search {
 public:
  explicit Search(size_t text_bytes)
      : region_(onig_region_new(), [](OnigRegion* region) { onig_region_free(region, 1); }),
        limits_(onig_new_match_param(), &onig_free_match_param) {
    if (region_ == nullptr || limits_ == nullptr) throw std::bad_alloc();
    onig_initialize_match_param(limits_.get());
    // A pattern that occurs nowhere fails once or twice per byte, a run of white space is given
    // back byte by byte: that is no attack.
    onig_set_retry_limit_in_match_of_match_param(limits_.get(), kRetriesPerMatch + 8 * text_bytes);
    onig_set_retry_limit_in_search_of_match_param(limits_.get(),
                                                  kRetriesPerSearch + 8 * text_bytes);
    onig_set_match_stack_limit_size_of_match_param(limits_.get(), kStackEntries);
  }

  // Whether there is a match from `from` on; match() then tells where.
  bool Next(regex_t* regex, std::string_view text, size_t from, std::string_view pattern) {
    const OnigUChar* begin = Raw(text);
    const OnigUChar* end = begin + text.size();
    const int result = onig_search_with_param(regex, begin, end, begin + from, end, region_.get(),
                                              ONIG_OPTION_NONE, limits_.get());
    if (result == ONIG_MISMATCH) return false;
    if (result >= 0) return true;
    throw Error(ErrorCode::kLimitExceeded, {.subject = std::string(pattern)},
                "the regular expression cannot be matched (" + Describe(result) +
                    "); it backtracks beyond the limit for tokenizers");
  }
  TextSpan match() const {
    return {static_cast<size_t>(region_->beg[0]), static_cast<size_t>(region_->end[0])};
  }

 private:
  std::unique_ptr<OnigRegion, void (*)(OnigRegion*)> region_;
  std::unique_ptr<OnigMatchParam, decltype(&onig_free_match_param)> limits_;
};

Regex::Regex(std::string_view pattern, Unit unit) : pattern_(pattern), unit_(unit) {
  InitializeOnce();
  // Oniguruma keeps process-wide tables (named characters) that compilation may extend.
  static std::mutex compilation;
  const std::lock_guard lock(compilation);
  std::string encoded = pattern_;
  if (unit == Unit::kUtf32) {
    const std::vector<char32_t> code_points = DecodeUtf8(pattern);
    encoded.resize(code_points.size() * sizeof(char32_t));
    std::memcpy(encoded.data(), code_points.data(), encoded.size());
  }
  const OnigOptionType options =
      unit == Unit::kUtf8
          ? ONIG_OPTION_NONE
          : ONIG_OPTION_WORD_IS_ASCII | ONIG_OPTION_DIGIT_IS_ASCII | ONIG_OPTION_SPACE_IS_ASCII;
  regex_t* regex = nullptr;
  OnigErrorInfo info;
  const int result = onig_new(&regex, Raw(encoded), Raw(encoded) + encoded.size(), options,
                              EncodingOf(unit), ONIG_SYNTAX_DEFAULT, &info);
  if (result != ONIG_NORMAL) {
    throw Error(
        ErrorCode::kBadText, {.subject = pattern_},
        "is no regular expression (" + Describe(result, &info) + "); the tokenizer is damaged");
  }
  compiled_.reset(regex, [](void* raw) { onig_free(static_cast<regex_t*>(raw)); });
}

template <typename OnMatch>
void Regex::ForEachMatch(Search& search, std::string_view text, const OnMatch& on_match) const {
  size_t last_end = ~size_t{0};
  for (size_t from = 0; from <= text.size();) {
    if (!search.Next(static_cast<regex_t*>(compiled_.get()), text, from, pattern_)) break;
    const TextSpan match = search.match();
    if (match.begin == match.end && last_end == match.end) {
      size_t step = 1;
      if (unit_ == Unit::kUtf32) step = sizeof(char32_t);
      if (unit_ == Unit::kUtf8 && from < text.size())
        step = std::max<size_t>(1, Utf8SequenceLength(text, from));
      from += step;
      continue;
    }
    on_match(match);
    last_end = from = match.end;
  }
}

std::vector<TextSpan> Regex::FindAll(std::string_view text) const {
  Search search(text.size());
  std::vector<TextSpan> matches;
  ForEachMatch(search, text, [&](TextSpan match) { matches.push_back(match); });
  return matches;
}

std::vector<size_t> Regex::Split(std::string_view text, const std::vector<size_t>& lengths) const {
  Search search(text.size());
  std::vector<size_t> parts;
  parts.reserve(lengths.size());
  for (const size_t length : lengths) {
    size_t done = 0;
    const auto cut = [&](size_t at) {
      if (at > done) parts.push_back(at - done);
      done = at;
    };
    ForEachMatch(search, text.substr(0, length), [&](TextSpan match) {
      cut(match.begin);
      cut(match.end);
    });
    cut(length);
    text.remove_prefix(length);
  }
  return parts;
}

}  // namespace quern::converters
