#include "formats/numpy/npy_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "formats/core/checked_math.h"

namespace quern::formats::numpy {
namespace {

struct NumpyType {
  std::string_view code;  // kind and bytes
  TensorType type;
};
constexpr std::array kTypes = {
    NumpyType{"f2", TensorType::kF16}, NumpyType{"f4", TensorType::kF32},
    NumpyType{"f8", TensorType::kF64}, NumpyType{"i1", TensorType::kI8},
    NumpyType{"i2", TensorType::kI16}, NumpyType{"i4", TensorType::kI32},
    NumpyType{"i8", TensorType::kI64}, NumpyType{"u1", TensorType::kU8},
    NumpyType{"u2", TensorType::kU16}, NumpyType{"u4", TensorType::kU32},
    NumpyType{"u8", TensorType::kU64}, NumpyType{"b1", TensorType::kBool},
    NumpyType{"c8", TensorType::kC64}, NumpyType{"c16", TensorType::kC128},
};

// The literal's grammar, and nothing else of Python: a dict with text keys whose values are texts
// without escapes, True, False or tuples of whole numbers.
class LiteralParser {
 public:
  LiteralParser(std::string_view text, uint64_t base, const Where& where)
      : text_(text), base_(base), where_(where) {}

  NpyHeader Parse() {
    Expect('{');
    while (!Accept('}')) {
      ReadEntry();
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    SkipSpaces();
    if (at_ < text_.size()) throw Fail("bytes after the dictionary");
    for (const auto& [seen, key] : {std::pair(descr_, "descr"), std::pair(order_, "fortran_order"),
                                    std::pair(shape_, "shape")}) {
      if (!seen) {
        throw Error(ErrorCode::kMissing, {where_.file, base_, where_.subject},
                    fmt::format("the header lacks `{}`; the file is damaged", key));
      }
    }
    return std::move(header_);
  }

 private:
  Error Fail(std::string_view message) const {
    return Error(ErrorCode::kBadText, {where_.file, base_ + at_, where_.subject},
                 fmt::format("{} in the .npy header; the file is damaged", message));
  }
  void SkipSpaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool Accept(char c) {
    SkipSpaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void Expect(char c) {
    if (!Accept(c)) throw Fail(fmt::format("`{}` is missing", c));
  }

  void ReadEntry() {
    const std::string_view key = ReadText();
    Expect(':');
    if (key == "descr") {
      Once(descr_, key);
      ReadDescr();
    } else if (key == "fortran_order") {
      Once(order_, key);
      header_.fortran_order = ReadBool();
    } else if (key == "shape") {
      Once(shape_, key);
      ReadShape();
    } else {
      throw Fail(fmt::format("the unknown key `{}`", Printable(key)));
    }
  }

  void Once(bool& seen, std::string_view key) const {
    if (seen) {
      throw Error(ErrorCode::kDuplicate, {where_.file, base_ + at_, where_.subject},
                  fmt::format("the header has `{}` twice; the file is damaged", key));
    }
    seen = true;
  }

  std::string_view ReadText() {
    SkipSpaces();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') throw Fail("no text");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) throw Fail("a text without end");
    const std::string_view text = text_.substr(at_ + 1, end - at_ - 1);
    if (text.find('\\') != text.npos) throw Fail("an escape");
    at_ = end + 1;
    return text;
  }

  bool ReadBool() {
    SkipSpaces();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return word == "True";
    }
    throw Fail("neither True nor False");
  }

  void ReadShape() {
    Expect('(');
    while (!Accept(')')) {
      if (header_.shape.size() == kMaxDimensions) {
        throw Error(ErrorCode::kLimitExceeded, {where_.file, base_ + at_, where_.subject},
                    fmt::format("more than {} dimensions; the file is damaged", kMaxDimensions));
      }
      header_.shape.push_back(ReadDimension());
      if (Accept(',')) continue;
      Expect(')');
      if (header_.shape.size() == 1) throw Fail("a number in parentheses, which is no tuple");
      break;
    }
  }

  uint64_t ReadDimension() {
    SkipSpaces();
    uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) {
      throw Error(ErrorCode::kBadShape, {where_.file, base_ + at_, where_.subject},
                  "a dimension is no whole number of 64 bits; the file is damaged");
    }
    at_ = static_cast<size_t>(end - text_.data());
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote longs so
    return value;
  }

  void ReadDescr() {
    SkipSpaces();
    const Where where{where_.file, base_ + at_, where_.subject};
    if (at_ < text_.size() && text_[at_] == '[') {
      throw Error(ErrorCode::kUnsupported, where,
                  "a structured array; save its fields as arrays of their own");
    }
    const std::string_view descr = ReadText();
    const char order = descr.empty() ? '\0' : descr[0];
    const std::string_view code = descr.substr(std::min<size_t>(descr.size(), 1));
    if (code.starts_with('O')) {
      throw Error(ErrorCode::kUnsafe, where,
                  "an array of Python objects, which is a pickle; save numbers instead");
    }
    const auto found = std::find_if(kTypes.begin(), kTypes.end(),
                                    [&](const NumpyType& type) { return type.code == code; });
    if (found == kTypes.end()) {
      throw Error(ErrorCode::kUnsupported, where,
                  fmt::format("the type `{}`; only plain numbers are read, convert the array",
                              Printable(descr)));
    }
    const bool bytes = Info(found->type).block_bytes == 1;
    if (order != '<' && order != '>' && order != '=' && !(order == '|' && bytes)) {
      throw Error(
          ErrorCode::kBadType, where,
          fmt::format("the type `{}` has no byte order; the file is damaged", Printable(descr)));
    }
    header_.type = found->type;
    header_.big_endian = order == '>' && !bytes;
  }

  std::string_view text_;
  uint64_t base_;  // offset of the text in the file
  const Where& where_;
  size_t at_ = 0;
  bool descr_ = false, order_ = false, shape_ = false;
  NpyHeader header_;
};

// Where the literal stands.
struct Literal {
  uint64_t begin, length;
};

Literal FindLiteral(std::string_view head, const Where& where) {
  const auto byte = [&](size_t at) -> uint64_t {
    if (at >= head.size()) {
      throw Error(ErrorCode::kTruncated, where, "the .npy header is cut short; fetch it again");
    }
    return static_cast<unsigned char>(head[at]);
  };
  if (head.size() >= kMagic.size() && !head.starts_with(kMagic)) {
    throw Error(ErrorCode::kBadMagic, where, "this is no .npy file; it lacks numpy's magic");
  }
  const uint64_t major = byte(6), minor = byte(7);
  if (major < 1 || major > 3 || minor != 0) {
    throw Error(ErrorCode::kBadVersion, where,
                fmt::format(".npy version {}.{}; 1.0, 2.0 and 3.0 are read", major, minor));
  }
  uint64_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  return {major > 1 ? uint64_t{12} : uint64_t{10}, length};
}

}  // namespace

NpyHeader ParseNpyHeader(std::string_view head, uint64_t size, const Where& where) {
  const Literal literal = FindLiteral(head, where);
  const uint64_t data_begin = literal.begin + literal.length;  // both below 2^33
  if (data_begin > size) {
    throw Error(ErrorCode::kTruncated, where,
                fmt::format("a header of {} bytes in {} bytes; fetch the file again",
                            literal.length, size));
  }
  if (literal.length > kMaxHeaderBytes) {
    throw Error(ErrorCode::kLimitExceeded, where,
                fmt::format("a header of {} bytes; at most {} are supported", literal.length,
                            kMaxHeaderBytes));
  }
  const uint64_t base = where.offset.value_or(0) + literal.begin;
  NpyHeader header = LiteralParser(head.substr(literal.begin, literal.length), base, where).Parse();
  const auto bytes = TensorBytes(header.type, header.shape);
  if (!bytes || !CheckedAdd(*bytes, data_begin)) {
    throw Error(ErrorCode::kBadShape, where,
                fmt::format("the shape [{}] is larger than any file; the file is damaged",
                            fmt::join(header.shape, ", ")));
  }
  header.data_begin = data_begin;
  header.data_bytes = *bytes;
  if (*bytes != size - data_begin) {
    const bool less = *bytes > size - data_begin;
    throw Error(less ? ErrorCode::kTruncated : ErrorCode::kUnusedBytes, where,
                fmt::format("{} bytes of data, and the shape needs {}; {}", size - data_begin,
                            *bytes, less ? "fetch the file again" : "the file is damaged"));
  }
  return header;
}

}  // namespace quern::formats::numpy
