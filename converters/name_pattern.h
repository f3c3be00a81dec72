// Tensor-name patterns of architecture files. They match whole names or not at all.
//
//   {i}  a block's number    {e}  an expert's number (decimal, without leading zeros)
//   *    any text, in ignore patterns only
#ifndef QUERN_CONVERTERS_NAME_PATTERN_H_
#define QUERN_CONVERTERS_NAME_PATTERN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quern::converters {

struct NameNumbers {
  std::optional<uint64_t> block, expert;
  bool operator==(const NameNumbers&) const = default;
};

// The numbers in `name` if it matches; {i} twice must be the same number twice.
std::optional<NameNumbers> MatchName(std::string_view pattern, std::string_view name);

// The name that `pattern` stands for with these numbers. Placeholders without a number stay.
std::string FillName(std::string_view pattern, const NameNumbers& numbers);

// Whether `name` matches a pattern in which * stands for any text.
bool MatchGlob(std::string_view pattern, std::string_view name);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_NAME_PATTERN_H_
