// quern export MODEL.gguf -o DIR --format safetensors: a GGUF as a Hugging Face folder.
#ifndef QUERN_CLI_EXPORT_SAFETENSORS_H_
#define QUERN_CLI_EXPORT_SAFETENSORS_H_

#include <string>
#include <vector>

#include "cli/command.h"
#include "converters/huggingface_export.h"

namespace quern::cli {

struct ExportSafetensorsArguments {
  std::string model;
  std::string output;  // folder
  std::string dtype = "auto";
  uint64_t shard_bytes = converters::kDefaultShardBytes;
  std::vector<std::string> architecture_files;
  formats::OpenOptions open;
};

// --dtype, --shard-size, --architecture. Not MODEL and --output, which every format has.
void AddExportSafetensorsOptions(CLI::App& command, ExportSafetensorsArguments& arguments);

// Returns the exit code.
int ExportSafetensors(const ExportSafetensorsArguments& arguments, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_EXPORT_SAFETENSORS_H_
