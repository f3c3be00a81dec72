#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "formats/core/error.h"
#include "formats/numpy/numpy_source.h"

namespace quern::formats::numpy {
namespace {

constexpr size_t kMaxDimensions = 64;  // NumPy 2's own limit

struct Descriptor {
  std::string_view code;  // without byte order
  TensorType type;
};
constexpr std::array kDescriptors = {
    Descriptor{"f4", TensorType::kF32}, Descriptor{"f8", TensorType::kF64},
    Descriptor{"f2", TensorType::kF16}, Descriptor{"i1", TensorType::kI8},
    Descriptor{"i2", TensorType::kI16}, Descriptor{"i4", TensorType::kI32},
    Descriptor{"i8", TensorType::kI64}, Descriptor{"u1", TensorType::kU8},
    Descriptor{"u2", TensorType::kU16}, Descriptor{"u4", TensorType::kU32},
    Descriptor{"u8", TensorType::kU64}, Descriptor{"b1", TensorType::kBool},
};

// As much of Python's literals as a header has: strings, True, False, tuples of integers.
class Parser {
 public:
  Parser(std::string_view text, const Where& where) : rest_(text), where_(where) {}

  ArrayHeader Parse() {
    Expect('{');
    while (!Take('}')) {
      const std::string_view key = String();
      Expect(':');
      Entry(key);
      if (!Take(',') && !Peek('}')) Fail(ErrorCode::kBadText, "a comma is missing");
    }
    SkipSpace();
    if (!rest_.empty()) Fail(ErrorCode::kBadText, "text after the header's dict");
    if (!has_type_ || !has_order_ || !has_shape_) {
      Fail(ErrorCode::kMissing, "descr, fortran_order or shape is missing");
    }
    return header_;
  }

 private:
  [[noreturn]] void Fail(ErrorCode code, std::string_view message) const {
    throw Error(code, where_, fmt::format("{}; save the array again", message));
  }

  void SkipSpace() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n\t\r"), rest_.size()));
  }
  bool Peek(char c) {
    SkipSpace();
    return rest_.starts_with(c);
  }
  bool Take(char c) {
    if (!Peek(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void Expect(char c) {
    if (!Take(c)) Fail(ErrorCode::kBadText, fmt::format("`{}` is missing in the header", c));
  }

  std::string_view String() {
    const bool single = Take('\'');
    if (!single) Expect('"');
    const size_t end = rest_.find(single ? '\'' : '"');
    if (end == std::string_view::npos) Fail(ErrorCode::kBadText, "a text does not end");
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

  void Once(bool& seen, std::string_view key) {
    if (seen) Fail(ErrorCode::kDuplicate, fmt::format("{} stands twice in the header", key));
    seen = true;
  }

  void Entry(std::string_view key) {
    if (key == "descr") {
      Once(has_type_, key);
      return Type();
    }
    if (key == "fortran_order") {
      Once(has_order_, key);
      return Order();
    }
    if (key == "shape") {
      Once(has_shape_, key);
      return ReadShape();
    }
    Fail(ErrorCode::kUnexpected, fmt::format("the header has a key {}", Printable(key)));
  }

  void Type() {
    if (Peek('[')) Fail(ErrorCode::kUnsupported, "an array of records, which is no tensor");
    const std::string_view text = String();
    const std::string_view code = text.empty() ? text : text.substr(1);
    if (code.starts_with('O')) {
      Fail(ErrorCode::kUnsafe, "an array of Python objects, which only Python could make");
    }
    for (const Descriptor& known : kDescriptors) {
      if (known.code != code) continue;
      if (text[0] != '<' && text[0] != '>' && text[0] != '|') break;
      header_.type = known.type;
      header_.big_endian = text[0] == '>';
      return;
    }
    Fail(ErrorCode::kUnsupported,
         fmt::format("an array of type {}, which quern does not read", Printable(text)));
  }

  void Order() {
    SkipSpace();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      header_.fortran_order = value;
      return;
    }
    Fail(ErrorCode::kBadText, "fortran_order is neither True nor False");
  }

  void ReadShape() {
    Expect('(');
    while (!Take(')')) {
      SkipSpace();
      uint64_t extent = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), extent);
      if (error != std::errc()) Fail(ErrorCode::kBadShape, "a dimension is no size");
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      header_.shape.push_back(extent);
      if (header_.shape.size() > kMaxDimensions) Fail(ErrorCode::kBadShape, "too many dimensions");
      if (!Take(',') && !Peek(')')) Fail(ErrorCode::kBadText, "a comma is missing in the shape");
    }
  }

  std::string_view rest_;
  const Where& where_;
  ArrayHeader header_;
  bool has_type_ = false;
  bool has_order_ = false;
  bool has_shape_ = false;
};

}  // namespace

ArrayHeader ParseHeader(std::string_view text, const Where& where) {
  return Parser(text, where).Parse();
}

}  // namespace quern::formats::numpy
