#include "formats/checksums/checksum_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "formats/core/error.h"

namespace quern::formats::checksums {
namespace {

constexpr size_t kSha256Digits = 64, kMd5Digits = 32;

// The digits in lower case; absent where `text` is no digest.
std::optional<std::string> Digits(std::string_view text) {
  if (text.size() != kSha256Digits && text.size() != kMd5Digits) return std::nullopt;
  std::string digits(text);
  for (char& c : digits) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return std::nullopt;
  }
  return digits;
}

std::optional<std::string> Unescape(std::string_view name) {
  std::string plain;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '\\') {
      plain += name[i];
      continue;
    }
    if (++i == name.size()) return std::nullopt;
    constexpr std::string_view kCodes = "\\nr", kMeanings = "\\\n\r";
    const size_t code = kCodes.find(name[i]);
    if (code == kCodes.npos) return std::nullopt;
    plain += kMeanings[code];
  }
  return plain;
}

// "SHA256 (NAME) = HEX"
std::optional<Checksum> ParseBsd(std::string_view line) {
  constexpr std::string_view kEnd = ") = ";
  for (const std::string_view begin : {"SHA256 (", "MD5 ("}) {
    if (!line.starts_with(begin)) continue;
    const size_t end = line.rfind(kEnd);
    if (end == line.npos || end < begin.size()) return std::nullopt;
    const auto digits = Digits(line.substr(end + kEnd.size()));
    if (!digits) return std::nullopt;
    return Checksum{*digits, std::string(line.substr(begin.size(), end - begin.size()))};
  }
  return std::nullopt;
}

std::optional<Checksum> ParseLine(std::string_view line) {
  if (auto bsd = ParseBsd(line)) return bsd;
  const bool escaped = line.starts_with('\\');
  if (escaped) line.remove_prefix(1);
  const size_t space = line.find(' ');
  const auto digits = Digits(line.substr(0, space));
  if (!digits) return std::nullopt;
  if (space == line.npos) return Checksum{*digits, {}};
  std::string_view name = line.substr(space + 1);
  // One more blank, or the mark of a binary file; some tools write one blank only.
  if (name.starts_with(' ') || name.starts_with('*')) name.remove_prefix(1);
  if (name.empty()) return std::nullopt;
  if (!escaped) return Checksum{*digits, std::string(name)};
  const auto plain = Unescape(name);
  if (!plain) return std::nullopt;
  return Checksum{*digits, *plain};
}

}  // namespace

std::vector<Checksum> ParseChecksums(std::string_view text, std::string_view file) {
  std::vector<Checksum> list;
  std::map<std::string, std::string> seen;
  uint64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == line.npos || line.starts_with('#')) continue;
    const Where where{std::string(file), {}, fmt::format("line {}", number)};
    const auto checksum = ParseLine(line);
    if (!checksum) {
      throw Error(ErrorCode::kBadText, where,
                  "is no SHA-256 or MD5 with a file name; fetch the list again");
    }
    const auto [at, added] = seen.try_emplace(checksum->name, checksum->digest);
    const bool same_kind = at->second.size() == checksum->digest.size();
    if (!added && same_kind && at->second != checksum->digest) {
      throw Error(ErrorCode::kDuplicate, where,
                  fmt::format("\"{}\" has another digest further up; fetch the list again",
                              Printable(checksum->name)));
    }
    list.push_back(*checksum);
  }
  return list;
}

}  // namespace quern::formats::checksums
