#include "formats/core/json.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern {
namespace {

// Builds the value from the parser's events, and makes the checks that nlohmann/json does not:
// depth, and duplicate keys (its own builder keeps the last of two). Its callback parser could make
// them too, but walks an object's earlier members again after each nested one: quadratic, minutes
// for a hostile header of 10^6 entries.
class Builder {
 public:
  Builder(std::string_view file, const JsonOptions& options) : file_(file), options_(options) {}

  Json TakeRoot() { return std::move(root_); }

  bool null() { return Put(nullptr); }
  bool boolean(bool value) { return Put(value); }
  bool number_integer(Json::number_integer_t value) { return Put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return Put(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return Put(value); }
  bool string(std::string& value) { return Put(std::move(value)); }
  bool binary(Json::binary_t& value) { return Put(std::move(value)); }
  bool start_object(size_t) { return Open(Json::object()); }
  bool start_array(size_t) { return Open(Json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(std::string& name) {
    const auto [at, is_new] =
        open_.back()->get_ref<Json::object_t&>().emplace(std::move(name), nullptr);
    if (!is_new) {
      throw Error(ErrorCode::kDuplicate, {std::string(file_), {}, at->first},
                  "a JSON object has this key twice; it is ambiguous which counts");
    }
    member_ = &at->second;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." -> the part after it.
    std::string_view what = error.what();
    if (const auto colon = what.find(": "); colon != what.npos) what.remove_prefix(colon + 2);
    throw Error(ErrorCode::kBadText,
                {std::string(file_), options_.base_offset + (position == 0 ? 0 : position - 1), {}},
                fmt::format("not valid JSON: {}", what));
  }

 private:
  // A pointer into a container stays valid while the container below it is open: only the
  // innermost one grows.
  template <typename T>
  bool Put(T&& value) {
    if (open_.empty()) {
      root_ = std::forward<T>(value);
      last_ = &root_;
    } else if (open_.back()->is_array()) {
      last_ = &open_.back()->emplace_back(std::forward<T>(value));
    } else {
      *member_ = std::forward<T>(value);
      last_ = member_;
    }
    return true;
  }

  bool Open(Json container) {
    if (open_.size() >= static_cast<size_t>(options_.max_depth)) {
      throw Error(ErrorCode::kLimitExceeded, {std::string(file_), {}, {}},
                  fmt::format("JSON is nested deeper than {} levels", options_.max_depth));
    }
    Put(std::move(container));
    open_.push_back(last_);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  std::string_view file_;
  const JsonOptions& options_;
  Json root_;
  std::vector<Json*> open_;  // containers, outermost first
  Json* member_ = nullptr;   // where the value of the last key goes
  Json* last_ = nullptr;     // where the last value went
};

}  // namespace

Json ParseJson(std::string_view text, std::string_view file, const JsonOptions& options) {
  // The library's lexer takes a zero byte for the end: what is hidden behind it would go unseen.
  if (const size_t zero = text.find('\0'); zero != text.npos) {
    throw Error(ErrorCode::kBadText, {std::string(file), options.base_offset + zero, {}},
                "not valid JSON: a zero byte");
  }
  Builder builder(file, options);
  try {
    Json::sax_parse(text, &builder, Json::input_format_t::json, /*strict=*/true, options.comments);
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kBadText, {std::string(file), {}, {}},
                fmt::format("not valid JSON: {}", error.what()));
  }
  return builder.TakeRoot();
}

Json ReadJsonFile(const std::filesystem::path& path, const JsonOptions& options) {
  return ParseJson(ReadTextFile(path, kMaxJsonFileBytes), path.string(), options);
}

}  // namespace quern
