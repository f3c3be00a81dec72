#include "formats/core/json.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern {
namespace {

// Watches a parse: depth, and duplicate keys. nlohmann/json keeps the last of two equal keys, so
// an object that ends up with fewer members than it had keys held a duplicate.
class Watcher {
 public:
  Watcher(std::string_view file, const JsonOptions& options) : file_(file), options_(options) {}

  bool operator()(int depth, Json::parse_event_t event, Json& value) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        if (depth >= options_.max_depth) {
          throw Error(ErrorCode::kLimitExceeded, {std::string(file_), {}, {}},
                      fmt::format("JSON is nested deeper than {} levels", options_.max_depth));
        }
        keys_.push_back(0);
        break;
      case Json::parse_event_t::key:
        ++keys_.back();
        last_key_ = value.get_ref<const std::string&>();
        break;
      case Json::parse_event_t::object_end:
        if (value.size() != keys_.back()) {
          throw Error(ErrorCode::kDuplicate, {std::string(file_), {}, {}},
                      fmt::format("a JSON object of {} keys has one of them twice (its last key is "
                                  "\"{}\"); it is ambiguous which counts",
                                  keys_.back(), Printable(last_key_)));
        }
        [[fallthrough]];
      case Json::parse_event_t::array_end:
        keys_.pop_back();
        break;
      case Json::parse_event_t::value:
        break;
    }
    return true;
  }

 private:
  std::string_view file_;
  const JsonOptions& options_;
  std::vector<size_t> keys_;
  std::string last_key_;
};

}  // namespace

Json ParseJson(std::string_view text, std::string_view file, const JsonOptions& options) {
  Watcher watcher(file, options);
  try {
    return Json::parse(text, std::ref(watcher), /*allow_exceptions=*/true, options.comments);
  } catch (const Json::parse_error& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." -> the part after it.
    std::string_view what = error.what();
    if (const auto colon = what.find(": "); colon != what.npos) what.remove_prefix(colon + 2);
    throw Error(
        ErrorCode::kBadText,
        {std::string(file), options.base_offset + (error.byte == 0 ? 0 : error.byte - 1), {}},
        fmt::format("not valid JSON: {}", what));
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kBadText, {std::string(file), {}, {}},
                fmt::format("not valid JSON: {}", error.what()));
  }
}

Json ReadJsonFile(const std::filesystem::path& path, const JsonOptions& options) {
  return ParseJson(ReadTextFile(path, kMaxJsonFileBytes), path.string(), options);
}

}  // namespace quern
