#include "cli/command.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdio>

namespace quern::cli {

CLI::App* AddCommand(CLI::App& app, Program& program, const std::string& name,
                     const std::string& description, Takes takes, std::function<int()> run) {
  CLI::App* command = app.add_subcommand(name, description);
  CommonOptions& common = program.common;
  command->add_option("--threads", common.threads, "Threads to compute with (default: all cores)")
      ->check(CLI::Range(1, 1024));
  command->add_flag("-q,--quiet", common.quiet, "Say nothing but errors");
  if (takes.json) command->add_flag("--json", common.json, "Print one JSON object to stdout");
  if (takes.output || takes.memory) {
    command
        ->add_option_function<std::string>(
            "--memory", [&common](const std::string& text) { common.memory = ParseSize(text); },
            takes.output ? "Memory for rows in flight, e.g. 64M (default 64M)"
                         : "Memory for everything, e.g. 512M (default 1G)")
        ->type_name("SIZE");
  }
  if (takes.output) {
    command->add_flag("--dry-run", common.dry_run, "Print the plan and write nothing");
    command->add_flag("--force", common.force, "Replace an existing output file");
    command->add_flag("--resume", common.resume,
                      "Continue a run that was killed, from FILE.partial and its journal; if this "
                      "one is stopped too, leave them for the next");
  }
  command->callback([&program, command, run = std::move(run)] {
    program.common.command = command;
    program.run = run;
  });
  return command;
}

void AddOpenOptions(CLI::App& command, formats::OpenOptions& options) {
  command
      .add_option("--root", options.root,
                  "Where the model is inside a PyTorch checkpoint: a dotted path, or . for "
                  "everything")
      ->type_name("PATH");
  command.add_flag("--allow-opaque", options.allow_opaque,
                   "Read past objects of unknown classes in a pickle (they are never made)");
  AddStoreOption(command, options);
}

void AddStoreOption(CLI::App& command, formats::OpenOptions& options) {
  command
      .add_option("--store", options.store,
                  "Ollama store that ollama:NAME is in (default: $OLLAMA_MODELS, "
                  "~/.ollama/models, /usr/share/ollama/.ollama/models)")
      ->type_name("DIR");
}

uint64_t ParseSize(const std::string& text) {
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  std::string unit = text.substr(used);
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  constexpr std::string_view kUnits = "KMGT";
  const size_t power = unit.empty() ? 0 : kUnits.find(unit[0]) + 1;
  const std::string rest = power == 0 ? unit : unit.substr(1);
  const bool known = power <= kUnits.size() && (rest.empty() || rest == "B" || rest == "IB");
  if (used == 0 || !known || !(number > 0) || number > 1e15) {
    throw CLI::ValidationError(text, "not a size; write for example 512M or 4.5G");
  }
  return static_cast<uint64_t>(number * std::pow(1024.0, static_cast<double>(power)));
}

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.3g} {}", value, kUnits[unit]);
}

void PrintJson(const Json& json) {
  // Invalid UTF-8 can only come from a file's own strings; it must not stop the listing.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Say(const CommonOptions& common, const std::string& line) {
  if (!common.quiet) WriteToStderr(line + "\n");
}

void WriteToStderr(std::string_view text) {
  [[maybe_unused]] const size_t written = std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace quern::cli
