#include "cli/json_file.h"

#include <fmt/format.h>

#include "formats/core/error.h"
#include "formats/core/output_file.h"

namespace quern::cli {

namespace fs = std::filesystem;

void RequireJsonPath(const std::string& path, const std::string& option,
                     std::span<const converters::Job> jobs, const CommonOptions& common) {
  for (const converters::Job& job : jobs) {
    for (size_t file = 0; file < job.plan->files.size(); ++file) {
      const fs::path output = converters::FilePath(*job.plan, job.path, file);
      if (fs::weakly_canonical(path) != fs::weakly_canonical(output)) continue;
      throw Error(ErrorCode::kUsage, {path, {}, option},
                  "this file would replace the output; choose another name");
    }
  }
  // Creates the partial file and removes it again: what cannot be written is found out first.
  OutputFile(path, 0, {.force = common.force});
}

void WriteJsonFile(const std::string& path, const Json& json, const CommonOptions& common) {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  OutputFile file(path, text.size(), {.force = common.force});
  file.WriteAt(0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  file.Commit();
}

}  // namespace quern::cli
