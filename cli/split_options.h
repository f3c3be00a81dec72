// The options that say how an output is cut into shards.
#ifndef QUERN_CLI_SPLIT_OPTIONS_H_
#define QUERN_CLI_SPLIT_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "converters/split.h"

namespace quern::cli {

// --split-max-tensors, --split-max-size, --no-tensor-first-split: llama.cpp's names. Any of them
// sets `options.rules` to `rules`.
void AddSplitOptions(CLI::App& command, converters::SplitRules rules,
                     converters::SplitOptions& options);

// --keep-split.
void AddKeepSplit(CLI::App& command, converters::SplitOptions& options);

// "2G", "500M", "4096": powers of 1000, as llama.cpp's tools count; with "iB" of 1024. Throws
// CLI::ValidationError.
uint64_t ParseShardSize(const std::string& text);

}  // namespace quern::cli

#endif  // QUERN_CLI_SPLIT_OPTIONS_H_
