#include "converters/model_id.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <vector>

namespace quern::converters {
namespace {

// ASCII only, whatever the locale: names of repositories are.
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsAlpha(char c) { return IsLower(c) || IsUpper(c); }
char Upper(char c) { return IsLower(c) ? static_cast<char>(c - 'a' + 'A') : c; }
char Lower(char c) { return IsUpper(c) ? static_cast<char>(c - 'A' + 'a') : c; }

// Takes parts of a text from its front, ignoring case. Hand-written: texts come from untrusted
// files, and std::regex recurses per byte.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {
    std::transform(text_.begin(), text_.end(), text_.begin(), Lower);
  }

  bool AtEnd() const { return at_ == text_.size(); }
  bool Take(std::string_view token) {
    if (!std::string_view(text_).substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  bool TakeOneOf(std::string_view bytes) {
    if (AtEnd() || bytes.find(text_[at_]) == std::string_view::npos) return false;
    ++at_;
    return true;
  }
  bool TakeDigits() {
    const size_t begin = at_;
    while (TakeOneOf("0123456789")) {
    }
    return at_ > begin;
  }
  // "7b", "2.7b", "1_6b", "7b1" up to the end.
  bool TakeSizeToEnd() {
    if (!TakeDigits()) return false;
    if (TakeOneOf("._") && !TakeDigits()) return false;
    if (!TakeOneOf("kmbt")) return false;
    TakeOneOf("0123456789");
    return AtEnd();
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

// "2", "v0.1", "iter3".
bool IsVersion(const std::string& part) {
  Scanner scan(part);
  if (!scan.Take("v")) scan.Take("iter");
  if (!scan.TakeDigits()) return false;
  while (scan.Take(".")) {
    if (!scan.TakeDigits()) return false;
  }
  return scan.AtEnd();
}

// "q4_k_m", "iq2", "bf16", "fp32".
bool IsQuantType(const std::string& part) {
  Scanner quant(part);
  quant.Take("i");
  if (quant.Take("q") && quant.TakeOneOf("0123456789")) {
    while (quant.Take("_")) {
      if (!quant.TakeOneOf("_0123456789abcdefghijklmnopqrstuvwxyz")) return false;
    }
    return quant.AtEnd();
  }
  Scanner plain(part);
  plain.Take("b");
  if (!plain.Take("f")) return false;
  plain.Take("p");
  return (plain.Take("16") || plain.Take("32")) && plain.AtEnd();
}

bool IsWord(const std::string& part, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    Scanner scan(part);
    return scan.Take(word) && scan.AtEnd();
  });
}

bool IsActiveSize(const std::string& part) {  // "A2.7B"
  Scanner scan(part);
  return scan.Take("a") && scan.TakeSizeToEnd();
}

bool IsSize(const std::string& part) {  // "7B", "8x7B", "A2.7B", "mini"
  Scanner mixture(part);
  return Scanner(part).TakeSizeToEnd() || IsActiveSize(part) ||
         (mixture.TakeDigits() && mixture.Take("x") && mixture.TakeSizeToEnd()) ||
         IsWord(part, {"small", "mini", "medium", "large", "xl", "xxl"});
}

bool IsFinetune(const std::string& part) {
  return IsWord(part, {"chat", "instruct", "vision", "lora"});
}

// "7b1" -> "7.1B", "1_6b" -> "1.6B".
std::string NormalizeSize(std::string size) {
  std::replace(size.begin(), size.end(), '_', '.');
  const size_t n = size.size();
  if (n >= 2 && IsDigit(size[n - 1])) {
    size = size.substr(0, n - 2) + "." + size[n - 1] + size[n - 2];
  }
  if (size.size() > 1 && IsDigit(size[size.size() - 2])) size.back() = Upper(size.back());
  return size;
}

// Weights that "7.1B" stands for; absent for "8x7B", "A3B" and words.
std::optional<double> SizeInWeights(const std::string& size) {
  if (size.empty()) return std::nullopt;
  double value = 0;
  const char* const end = size.data() + size.size() - 1;
  const auto [stop, error] = std::from_chars(size.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  const size_t power = std::string_view(" KMBT").find(size.back());
  return value *
         std::pow(1000.0, power == std::string_view::npos ? -1.0 : static_cast<double>(power));
}

// A part of the name and what it was recognized as; a part can be two things.
struct Part {
  std::string text;
  bool basename = false, size = false, finetune = false, version = false, type = false;
  int kinds() const { return basename + size + finetune + version + type; }
};

// Whether a size in the name is too far from the model's own to be its size: more than 7/8 of the
// model away, or for adapters, which lack layers, less than an eighth.
bool IsOtherSize(double size, int64_t parameters) {
  const int64_t total = std::abs(parameters);
  if (parameters < 0) return size < static_cast<double>(total / 8);
  return std::abs(size - static_cast<double>(total)) > static_cast<double>(7 * total / 8);
}

void AnnotateSize(std::vector<Part>& parts, size_t i, int64_t parameters) {
  Part& part = parts[i];
  part.text = NormalizeSize(part.text);
  const auto size = SizeInWeights(part.text);
  if (parameters != 0 && size) {
    // "26B-A4B": the second gives the active weights of a mixture.
    bool names_active = false;
    if (i + 1 < parts.size()) {
      const std::string next = NormalizeSize(parts[i + 1].text);
      const auto active = IsActiveSize(next) ? SizeInWeights(next.substr(1)) : std::nullopt;
      const auto total = static_cast<double>(std::abs(parameters));
      names_active = active && std::abs(*active - total) <= std::floor(7 * total / 8);
    }
    if (!names_active && IsOtherSize(*size, parameters)) {
      part.finetune = true;
      part.text.back() = Lower(part.text.back());
    }
  }
  if (part.kinds() == 0) part.size = true;
}

void Annotate(std::vector<Part>& parts, int64_t parameters) {
  for (size_t i = 0; i < parts.size(); ++i) {
    Part& part = parts[i];
    if (IsVersion(part.text)) {
      part.version = true;
    } else if (IsQuantType(part.text)) {
      part.type = true;
      std::transform(part.text.begin(), part.text.end(), part.text.begin(), Upper);
    } else if (i > 0 && IsSize(part.text)) {
      AnnotateSize(parts, i, parameters);
    } else if (i > 0 && IsFinetune(part.text)) {
      const bool lora = part.text.size() == 4 && Lower(part.text[0]) == 'l';
      (parameters < 0 && lora ? part.type : part.finetune) = true;
    }
  }
}

// Words ("mini") are no sizes where a number is there as well.
void DropWordSizes(std::vector<Part>& parts) {
  const auto has_digit = [](const Part& part) {
    return part.size && std::any_of(part.text.begin(), part.text.end(), IsDigit);
  };
  if (std::none_of(parts.begin(), parts.end(), has_digit)) return;
  for (auto& part : parts) {
    if (part.size && std::all_of(part.text.begin(), part.text.end(), IsAlpha)) part.size = false;
  }
}

// The base name is what stands first and is nothing else; versions within it belong to it, those
// at its end do not.
void FindBasename(std::vector<Part>& parts) {
  bool at_start = true;
  for (auto& part : parts) {
    if (at_start && ((part.kinds() == 0 && IsAlpha(part.text[0])) || part.version)) {
      part.basename = true;
    } else {
      at_start = false;
      if (part.kinds() == 0) part.finetune = true;
    }
  }
  for (size_t i = parts.size(); i-- > 0;) {
    if (!parts[i].basename || parts[i].kinds() == 1) break;
    parts[i].basename = false;
  }
}

template <typename Wanted>
std::optional<std::string> Join(const std::vector<Part>& parts, const Wanted& wanted,
                                bool distinct = false) {
  std::vector<std::string> chosen;
  for (const auto& part : parts) {
    if (!wanted(part)) continue;
    if (distinct && std::find(chosen.begin(), chosen.end(), part.text) != chosen.end()) continue;
    chosen.push_back(part.text);
  }
  if (chosen.empty()) return std::nullopt;
  std::string joined = chosen[0];
  for (size_t i = 1; i < chosen.size(); ++i) joined += "-" + chosen[i];
  return joined;
}

std::vector<Part> SplitAtDashes(std::string_view name) {
  std::vector<Part> parts;
  while (true) {
    const size_t dash = name.find('-');
    if (const auto text = name.substr(0, dash); !text.empty()) {
      parts.push_back({.text = std::string(text)});
    }
    if (dash == std::string_view::npos) return parts;
    name.remove_prefix(dash + 1);
  }
}

}  // namespace

ModelIdParts SplitModelId(std::string_view id, int64_t parameters) {
  ModelIdParts result;
  result.name = std::string(id);
  if (id.find(' ') != std::string_view::npos) return result;  // a sentence, no repository's name
  if (const size_t slash = id.find('/'); slash != std::string_view::npos) {
    if (!id.starts_with('.')) result.organization = std::string(id.substr(0, slash));
    result.name = std::string(id.substr(slash + 1));
  }
  std::vector<Part> parts = SplitAtDashes(*result.name);
  Annotate(parts, parameters);
  DropWordSizes(parts);
  FindBasename(parts);
  result.basename = Join(parts, [](const Part& part) { return part.basename; });
  result.size_label = Join(
      parts, [](const Part& part) { return part.size; }, true);
  result.finetune = Join(parts, [](const Part& part) { return part.finetune; });
  result.version = Join(parts, [](const Part& part) { return part.version && !part.basename; });
  if (!result.size_label && !result.finetune && !result.version) result.basename.reset();
  return result;
}

std::string IdToTitle(std::string_view id) {
  std::string title;
  size_t at = 0;
  const auto is_gap = [](char c) { return c == '-' || c == ' ' || (c >= '\t' && c <= '\r'); };
  while (at < id.size()) {
    if (is_gap(id[at])) {
      ++at;
      continue;
    }
    const size_t end = static_cast<size_t>(
        std::find_if(id.begin() + static_cast<ptrdiff_t>(at), id.end(), is_gap) - id.begin());
    std::string word(id.substr(at, end - at));
    at = end;
    const bool lower = std::any_of(word.begin(), word.end(), IsLower) &&
                       std::none_of(word.begin(), word.end(), IsUpper);
    if (lower && !IsDigit(word[0]) && !(word[0] == 'v' && IsVersion(word))) {
      for (size_t i = 0; i < word.size(); ++i) {
        if (i == 0 || !IsAlpha(word[i - 1])) word[i] = Upper(word[i]);
      }
    }
    title += (title.empty() ? "" : " ") + word;
  }
  return title;
}

}  // namespace quern::converters
