// JSON files that a run writes beside its outputs: --report, --manifest.
#ifndef QUERN_CLI_JSON_FILE_H_
#define QUERN_CLI_JSON_FILE_H_

#include <span>
#include <string>

#include "cli/command.h"
#include "converters/executor.h"

namespace quern::cli {

// Throws, before anything is written, what OutputFile throws where `path` cannot become a file, and
// kUsage, naming the option, where it is one of the outputs.
void RequireJsonPath(const std::string& path, const std::string& option,
                     std::span<const converters::Job> jobs, const CommonOptions& common);

// Appears under its name only when it is complete.
void WriteJsonFile(const std::string& path, const Json& json, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_JSON_FILE_H_
