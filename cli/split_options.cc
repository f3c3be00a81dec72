#include "cli/split_options.h"

#include <charconv>
#include <cmath>
#include <string_view>

namespace quern::cli {

using converters::SplitOptions;
using converters::SplitRules;

uint64_t ParseShardSize(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(end, text.data() + text.size());
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  constexpr std::string_view kUnits = "KMGT";
  const size_t power = unit.empty() ? 0 : kUnits.find(unit[0]) + 1;
  const std::string rest = power == 0 ? unit : unit.substr(1);
  const bool known =
      power <= kUnits.size() && (rest.empty() || rest == "B" || (power > 0 && rest == "IB"));
  if (error != std::errc() || !known || !(number > 0) || number > 1e15) {
    throw CLI::ValidationError(text, "not a size; write for example 500M or 2G");
  }
  const double bytes =
      number * std::pow(rest == "IB" ? 1024.0 : 1000.0, static_cast<double>(power));
  if (bytes < 1 || bytes > 1e18) throw CLI::ValidationError(text, "not a possible size of a file");
  return static_cast<uint64_t>(bytes);
}

void AddSplitOptions(CLI::App& command, SplitRules rules, SplitOptions& options) {
  command
      .add_option_function<uint64_t>(
          "--split-max-tensors",
          [&options, rules](const uint64_t& count) {
            options.rules = rules;
            options.max_tensors = count;
          },
          "Tensors in each shard of the output, at most")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command
      .add_option_function<std::string>(
          "--split-max-size",
          [&options, rules](const std::string& text) {
            options.rules = rules;
            options.max_bytes = ParseShardSize(text);
          },
          "Bytes of tensors in each shard, at most, e.g. 500M or 2G (powers of 1000)")
      ->type_name("SIZE");
  command.add_flag_callback(
      "--no-tensor-first-split",
      [&options, rules] {
        options.rules = rules;
        options.empty_first = true;
      },
      "The first shard has the metadata only");
}

void AddKeepSplit(CLI::App& command, SplitOptions& options) {
  command
      .add_flag_callback(
          "--keep-split", [&options] { options.rules = SplitRules::kKeep; },
          "The same shards as the input has")
      ->excludes("--split-max-tensors", "--split-max-size", "--no-tensor-first-split");
}

}  // namespace quern::cli
