// Where an output comes from: the hashes of everything that went in and of everything that came
// out, beside the output and not in it.
//
//   {"quern": VERSION, "command": "convert", "options": {"--type": ["Q4_K_M"], ...},
//    "architecture": "llama", "sources": [FILE, ...], "outputs": [FILE, ...]}
//   FILE = {"path": ..., "bytes": ..., "sha256": HEX}
// The same run gives the same manifest: it holds no time and no machine.
#ifndef QUERN_VERIFY_PROVENANCE_H_
#define QUERN_VERIFY_PROVENANCE_H_

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "formats/core/json.h"
#include "formats/core/model.h"
#include "verify/check_list.h"

namespace quern::verify {

struct Provenance {
  std::string version;
  std::string command;
  Json options = Json::object();  // as given
  std::string architecture;
  std::vector<std::filesystem::path> sources;  // in the order in which they shall stand
  std::vector<std::filesystem::path> outputs;
};

// Data files and side files of a source, each once.
std::vector<std::filesystem::path> SourceFiles(const ModelSource& source);

// Hashes all files, in parallel. Throws what opening and reading them throws.
Json ProvenanceToJson(const Provenance& provenance, const RunOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_PROVENANCE_H_
