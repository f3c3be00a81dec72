// What the commands share: common options, and how a command is put into the program.
//
// One file per command. A command parses options, calls the library and prints; results go to
// stdout, everything for the human to stderr.
#ifndef QUERN_CLI_COMMAND_H_
#define QUERN_CLI_COMMAND_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "formats/core/json.h"
#include "formats/reader.h"

namespace quern::cli {

struct CommonOptions {
  int threads = 0;      // 0: all cores
  uint64_t memory = 0;  // bytes; 0: the library's default for the command
  bool quiet = false;
  bool json = false;
  bool dry_run = false;
  bool force = false;
  bool resume = false;
  const CLI::App* command = nullptr;  // that runs
};

// The program: main() fills it, a command's callback sets `run`, which returns the exit code.
struct Program {
  CommonOptions common;
  std::function<int()> run;
};

// Which of the common options a command takes, beside --threads and --quiet.
struct Takes {
  bool json = false;
  bool output = false;  // --memory --dry-run --force --resume
  bool memory = false;  // --memory alone
};

// Adds a subcommand with its common options; `run` is what it does.
CLI::App* AddCommand(CLI::App& app, Program& program, const std::string& name,
                     const std::string& description, Takes takes, std::function<int()> run);

void AddConvert(CLI::App& app, Program& program);
void AddQuantize(CLI::App& app, Program& program);
void AddSplitMerge(CLI::App& app, Program& program);
void AddExport(CLI::App& app, Program& program);
void AddImport(CLI::App& app, Program& program);
void AddInspect(CLI::App& app, Program& program);
void AddVerify(CLI::App& app, Program& program);
void AddHash(CLI::App& app, Program& program);
void AddDiff(CLI::App& app, Program& program);
void AddPerplexity(CLI::App& app, Program& program);
void AddDrift(CLI::App& app, Program& program);
void AddImatrix(CLI::App& app, Program& program);
void AddGenerate(CLI::App& app, Program& program);
void AddTokenize(CLI::App& app, Program& program);
void AddLists(CLI::App& app, Program& program);  // formats, architectures, types

// --root, --store and --allow-opaque, for commands that open sources of every kind.
void AddOpenOptions(CLI::App& command, formats::OpenOptions& options);
// --store alone, for commands that take one kind of source.
void AddStoreOption(CLI::App& command, formats::OpenOptions& options);

// "512", "64K", "1.5G", "300MiB": powers of 1024. Throws CLI::ValidationError.
uint64_t ParseSize(const std::string& text);

// "1.23 GB" (powers of 1000, as disks are sold).
std::string HumanBytes(uint64_t bytes);

void PrintJson(const Json& json);                                // stdout
void Say(const CommonOptions& common, const std::string& line);  // stderr unless --quiet

// What is said to the human must not end a run: a failed write is ignored. fmt::print throws.
void WriteToStderr(std::string_view text);

}  // namespace quern::cli

#endif  // QUERN_CLI_COMMAND_H_
