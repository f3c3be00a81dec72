#include "converters/tokenizer/pre_splitter.h"

#include <utf8proc.h>

#include <array>
#include <string>

#include "converters/tokenizer/unicode.h"

namespace quern::converters {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

template <size_t kCount>
bool In(const std::array<Range, kCount>& ranges, char32_t c) {
  for (const Range& range : ranges) {
    if (range.first <= c && c <= range.last) return true;
  }
  return false;
}

constexpr std::array<Range, 9> kHan = {{{0x3400, 0x4dbf},
                                        {0x4e00, 0x9fff},
                                        {0xf900, 0xfaff},
                                        {0x20000, 0x2a6df},
                                        {0x2a700, 0x2b73f},
                                        {0x2b740, 0x2b81f},
                                        {0x2b820, 0x2ceaf},
                                        {0x2ceb0, 0x2ebef},
                                        {0x2f800, 0x2fa1f}}};

// What Unicode 15.1 has and utf8proc 2.8 (Unicode 15.0) has not.
constexpr std::array<Range, 1> kNewLetters = {{{0x2ebf0, 0x2ee5d}}};
constexpr std::array<Range, 2> kNewSymbols = {{{0x2ffc, 0x2fff}, {0x31ef, 0x31ef}}};

uint8_t ClassByCategory(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return kClassLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kClassMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return kClassNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kClassPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      return kClassSymbol;
    default:
      if (In(kNewLetters, c)) return kClassLetter;
      return In(kNewSymbols, c) ? kClassSymbol : kClassOther;
  }
}

struct ClassName {
  std::string_view name;
  std::string_view members;  // for the inside of [...]
};
constexpr ClassName kClassNames[] = {
    {R"(\p{L})", R"(\xd2\xd6A-Za-z)"},
    {R"(\p{N})", R"(\xd10-9)"},
    {R"(\p{P})", R"(\xd3!-#%-*,-/:;?@\[-\]_{})"},
    {R"(\p{S})", R"(\xd5\$+<->\^`|~)"},
    {R"(\p{M})", R"(\xd4)"},
    {R"(\p{Han})", R"(\xd6\xd7)"},
};

// The pattern with the classes' members for their names; empty where it names none.
std::string WithMembers(std::string_view pattern) {
  std::string out;
  bool named = false;
  int depth = 0;
  for (size_t at = 0; at < pattern.size();) {
    size_t length = 1;
    std::string_view text = pattern.substr(at, 1);
    const ClassName* found = nullptr;
    for (const ClassName& name : kClassNames) {
      if (pattern.substr(at).starts_with(name.name)) found = &name;
    }
    if (found) {
      named = true;
      length = found->name.size();
      text = found->members;
    } else if (text == "\\") {
      length = 2;
      text = pattern.substr(at, 2);
    } else if (text == "[") {
      ++depth;
    } else if (text == "]") {
      --depth;
    }
    if (found && depth == 0) out += '[';
    out += text;
    if (found && depth == 0) out += ']';
    at += length;
  }
  return named ? out : "";
}

std::string Classes(std::span<const char32_t> text) {
  std::string classes(text.size(), '\0');
  for (size_t i = 0; i < text.size(); ++i)
    classes[i] = static_cast<char>(text[i] < 0x80 ? text[i] : ClassOf(text[i]));
  return classes;
}

// The characters, with white space as the patterns want it.
std::string Characters(std::span<const char32_t> text) {
  std::u32string characters(text.begin(), text.end());
  for (char32_t& c : characters) {
    if (c >= 0x80 && IsWhitespace(c)) c = kClassSpace;
  }
  return std::string(reinterpret_cast<const char*>(characters.data()),
                     characters.size() * sizeof(char32_t));
}

std::vector<size_t> SplitCharacters(const Regex& regex, const std::string& characters,
                                    std::vector<size_t> lengths) {
  for (size_t& length : lengths) length *= sizeof(char32_t);
  lengths = regex.Split(characters, lengths);
  for (size_t& length : lengths) length /= sizeof(char32_t);
  return lengths;
}

}  // namespace

uint8_t ClassOf(char32_t c) {
  if (IsWhitespace(c)) return kClassSpace;
  const uint8_t by_category = ClassByCategory(c);
  if (!In(kHan, c)) return by_category;
  return by_category == kClassLetter ? kClassHanLetter : kClassHanOther;
}

PreSplitter::PreSplitter(const PreRule& rule) {
  for (const std::string_view pattern : rule.patterns) {
    const std::string by_class = WithMembers(pattern);
    if (!by_class.empty()) {
      steps_.push_back({Regex(by_class, Regex::Unit::kByte), true});
    } else if (pattern.find("\\x{") == std::string_view::npos) {
      steps_.push_back({Regex(pattern, Regex::Unit::kByte), true});
    } else {
      steps_.push_back({Regex(pattern, Regex::Unit::kUtf32), false});
    }
  }
}

std::vector<size_t> PreSplitter::Split(std::span<const char32_t> text) const {
  if (text.empty()) return {};
  std::vector<size_t> lengths = {text.size()};
  const std::string classes = Classes(text);
  std::string characters;
  for (const Step& step : steps_) {
    if (step.by_class) {
      lengths = step.regex.Split(classes, lengths);
      continue;
    }
    // A pattern that names characters beyond ASCII may still match in ASCII: it is always run.
    if (characters.empty()) characters = Characters(text);
    lengths = SplitCharacters(step.regex, characters, std::move(lengths));
  }
  return lengths;
}

std::vector<char32_t> DecodeLenientUtf8(std::string_view text) {
  std::vector<char32_t> out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    bool valid = length > 0 && lead < 0xf8 && length <= text.size() - at;
    char32_t c = length < 2 ? lead : lead & (0x7fu >> length);
    for (size_t i = 1; valid && i < length; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      valid = (byte & 0xc0) == 0x80;
      c = c << 6 | (byte & 0x3f);
    }
    valid = valid && c <= 0x10ffff;
    out.push_back(valid ? c : 0xfffd);
    at += valid ? length : 1;
  }
  return out;
}

}  // namespace quern::converters
