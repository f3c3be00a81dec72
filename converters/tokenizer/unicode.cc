#include "converters/tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool Between(char32_t c, char32_t first, char32_t last) { return first <= c && c <= last; }

utf8proc_option_t Options(NormalForm form) {
  constexpr int kCompose = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  constexpr int kDecompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  switch (form) {
    case NormalForm::kNfc:
      return static_cast<utf8proc_option_t>(kCompose);
    case NormalForm::kNfd:
      return static_cast<utf8proc_option_t>(kDecompose);
    case NormalForm::kNfkc:
      return static_cast<utf8proc_option_t>(kCompose | UTF8PROC_COMPAT);
    case NormalForm::kNfkd:
      break;
  }
  return static_cast<utf8proc_option_t>(kDecompose | UTF8PROC_COMPAT);
}

}  // namespace

std::string NormalizeUnicode(std::string_view text, NormalForm form) {
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &raw, Options(form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  if (length < 0) {
    throw Error(ErrorCode::kBadText, {},
                std::string("Unicode normalization failed (") + utf8proc_errmsg(length) +
                    "); the text must be valid UTF-8");
  }
  return std::string(reinterpret_cast<const char*>(raw), static_cast<size_t>(length));
}

bool IsWhitespace(char32_t c) {
  return Between(c, 0x09, 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         Between(c, 0x2000, 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool IsNumeric(char32_t c) {
  const auto category = Category(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool IsPunctuation(char32_t c) {
  if (Between(c, '!', '/') || Between(c, ':', '@') || Between(c, '[', '`') || Between(c, '{', '~'))
    return true;
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return true;
    default:
      return false;
  }
}

bool IsMark(char32_t c) {
  const auto category = Category(c);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
         category == UTF8PROC_CATEGORY_ME;
}

bool IsNonspacingMark(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_MN; }

bool IsOther(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
      return true;
    default:
      return false;
  }
}

bool IsWordCharacter(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return true;
    default:
      return false;
  }
}

bool IsChineseCharacter(char32_t c) {
  return Between(c, 0x4e00, 0x9fff) || Between(c, 0x3400, 0x4dbf) || Between(c, 0x20000, 0x2a6df) ||
         Between(c, 0x2a700, 0x2b73f) || Between(c, 0x2b740, 0x2b81f) ||
         Between(c, 0x2b920, 0x2ceaf) || Between(c, 0xf900, 0xfaff) || Between(c, 0x2f800, 0x2fa1f);
}

std::string ToLower(std::string_view text) {
  constexpr char32_t kCapitalIWithDot = 0x130;  // the one capital whose lower case is two letters
  std::string lower;
  lower.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextCodePoint(text, at);
    if (c == kCapitalIWithDot) {
      lower += "i\u0307";
    } else {
      AppendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), lower);
    }
  }
  return lower;
}

std::string Filter(std::string_view text, const std::function<bool(char32_t)>& keep) {
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (keep(NextCodePoint(text, at))) kept += text.substr(begin, at - begin);
  }
  return kept;
}

}  // namespace quern::converters
