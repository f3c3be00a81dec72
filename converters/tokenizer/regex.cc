#include "converters/tokenizer/regex.h"

#include <oniguruma.h>

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
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    return onig_initialize(encodings, 1);
  }();
  if (initialized != ONIG_NORMAL)
    throw Error(ErrorCode::kIo, {}, "Oniguruma cannot start: " + Describe(initialized));
}

// Limits and result of the searches over one text.
class Search {
 public:
  explicit Search(size_t text_bytes)
      : region_(onig_region_new(), [](OnigRegion* region) { onig_region_free(region, 1); }),
        limits_(onig_new_match_param(), &onig_free_match_param) {
    if (region_ == nullptr || limits_ == nullptr) throw std::bad_alloc();
    onig_initialize_match_param(limits_.get());
    onig_set_retry_limit_in_match_of_match_param(limits_.get(), kRetriesPerMatch);
    // A pattern that occurs nowhere fails once or twice per byte: that is no attack.
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

}  // namespace

Regex::Regex(std::string_view pattern) : pattern_(pattern) {
  InitializeOnce();
  // Oniguruma keeps process-wide tables (named characters) that compilation may extend.
  static std::mutex compilation;
  const std::lock_guard lock(compilation);
  regex_t* regex = nullptr;
  OnigErrorInfo info;
  const int result = onig_new(&regex, Raw(pattern_), Raw(pattern_) + pattern_.size(),
                              ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (result != ONIG_NORMAL) {
    throw Error(
        ErrorCode::kBadText, {.subject = pattern_},
        "is no regular expression (" + Describe(result, &info) + "); the tokenizer is damaged");
  }
  compiled_.reset(regex, [](void* raw) { onig_free(static_cast<regex_t*>(raw)); });
}

std::vector<TextSpan> Regex::FindAll(std::string_view text) const {
  Search search(text.size());
  std::vector<TextSpan> matches;
  for (size_t from = 0; from <= text.size();) {
    if (!search.Next(static_cast<regex_t*>(compiled_.get()), text, from, pattern_)) break;
    const TextSpan match = search.match();
    const bool empty = match.begin == match.end;
    if (empty && !matches.empty() && matches.back().end == match.end) {
      const size_t step = from < text.size() ? Utf8SequenceLength(text, from) : 1;
      from += step == 0 ? 1 : step;
      continue;
    }
    matches.push_back(match);
    from = match.end;
  }
  return matches;
}

}  // namespace quern::converters
