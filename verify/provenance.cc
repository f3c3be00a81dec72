#include "verify/provenance.h"

#include <algorithm>

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

Json FilesToJson(const std::vector<fs::path>& paths, CheckList& list) {
  Json files = Json::array();
  for (const fs::path& path : paths) {
    const FileCheck& file = list.Add(path);
    files.push_back({{"path", path.string()}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  return files;
}

}  // namespace

std::vector<fs::path> SourceFiles(const ModelSource& source) {
  std::vector<fs::path> paths;
  const auto add = [&](const fs::path& path) {
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
  };
  for (const File& file : source.files()) add(file.path());
  for (const auto& [name, path] : source.side_files()) add(path);
  return paths;
}

Json ProvenanceToJson(const Provenance& provenance, const RunOptions& options) {
  CheckList list;
  for (const auto* paths : {&provenance.sources, &provenance.outputs}) {
    for (const fs::path& path : *paths) list.Add(path).want_sha256 = true;
  }
  list.Run(options);
  for (const Problem& problem : list.problems()) {
    throw Error(ErrorCode::kIo, {problem.path, {}, {}}, problem.detail);
  }
  return {{"quern", provenance.version},
          {"command", provenance.command},
          {"options", provenance.options},
          {"architecture", provenance.architecture},
          {"sources", FilesToJson(provenance.sources, list)},
          {"outputs", FilesToJson(provenance.outputs, list)}};
}

}  // namespace quern::verify
