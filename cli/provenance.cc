#include "cli/provenance.h"

#include <algorithm>
#include <array>

#include "cli/interrupt.h"
#include "cli/json_file.h"
#include "cli/progress.h"
#include "formats/huggingface/side_files.h"
#include "verify/provenance.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;

// Options whose files decide the output too.
constexpr std::array<std::string_view, 5> kInputOptions = {
    "--imatrix", "--tensor-type-file", "--architecture", "--metadata", "--vocab-from"};
// Options that do not decide it.
constexpr std::array<std::string_view, 6> kOtherOptions = {"--threads", "--memory", "--quiet",
                                                           "--json",    "--force",  "--resume"};

template <size_t kCount>
bool IsOneOf(const std::string& name, const std::array<std::string_view, kCount>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string NameOf(const CLI::Option& option) {
  return option.get_lnames().empty() ? option.get_name() : "--" + option.get_lnames().front();
}

void AddInput(const fs::path& path, std::vector<fs::path>& sources) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    sources.push_back(path);
    return;
  }
  for (const auto& [name, file] : formats::huggingface::FindSideFiles(path)) {
    sources.push_back(file);
  }
}

}  // namespace

void WriteProvenance(const std::string& path, const ModelSource& source,
                     const std::string& architecture, std::span<const converters::Job> jobs,
                     const CommonOptions& common) {
  verify::Provenance provenance{.version = QUERN_VERSION,
                                .command = common.command->get_name(),
                                .architecture = architecture,
                                .sources = verify::SourceFiles(source),
                                .outputs = {}};
  for (const CLI::Option* option : common.command->get_options()) {
    const std::string name = NameOf(*option);
    if (option->count() == 0 || IsOneOf(name, kOtherOptions)) continue;
    provenance.options[name] = option->results();
    if (!IsOneOf(name, kInputOptions)) continue;
    for (const std::string& file : option->results()) AddInput(file, provenance.sources);
  }
  for (const converters::Job& job : jobs) {
    for (size_t file = 0; file < job.plan->files.size(); ++file) {
      provenance.outputs.push_back(converters::FilePath(*job.plan, job.path, file));
    }
  }
  ProgressLine line(common);
  const Json json = verify::ProvenanceToJson(
      provenance, {.threads = common.threads, .progress = [&](const auto& progress) {
                     ThrowIfInterrupted();
                     line.UpdateBytes(progress.done, progress.total);
                   }});
  line.Finish();
  WriteJsonFile(path, json, common);
}

}  // namespace quern::cli
