#include "converters/name_pattern.h"

#include <charconv>

namespace quern::converters {
namespace {

// Takes a decimal number without leading zeros from the front of `text`.
std::optional<uint64_t> TakeNumber(std::string_view& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  const auto length = static_cast<size_t>(end - text.data());
  if (text[0] == '0' && length > 1) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

}  // namespace

std::optional<NameNumbers> MatchName(std::string_view pattern, std::string_view name) {
  NameNumbers numbers;
  while (!pattern.empty()) {
    const bool block = pattern.starts_with("{i}");
    if (block || pattern.starts_with("{e}")) {
      const auto number = TakeNumber(name);
      auto& slot = block ? numbers.block : numbers.expert;
      if (!number || (slot && *slot != *number)) return std::nullopt;
      slot = number;
      pattern.remove_prefix(3);
    } else {
      if (name.empty() || name[0] != pattern[0]) return std::nullopt;
      name.remove_prefix(1);
      pattern.remove_prefix(1);
    }
  }
  if (!name.empty()) return std::nullopt;
  return numbers;
}

std::string FillName(std::string_view pattern, const NameNumbers& numbers) {
  std::string name;
  while (!pattern.empty()) {
    if (pattern.starts_with("{i}") && numbers.block) {
      name += std::to_string(*numbers.block);
      pattern.remove_prefix(3);
    } else if (pattern.starts_with("{e}") && numbers.expert) {
      name += std::to_string(*numbers.expert);
      pattern.remove_prefix(3);
    } else {
      name += pattern[0];
      pattern.remove_prefix(1);
    }
  }
  return name;
}

bool MatchGlob(std::string_view pattern, std::string_view name) {
  // Greedy with one point of return, the last star: linear in practice, never exponential.
  size_t p = 0, n = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace quern::converters
