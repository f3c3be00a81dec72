// Takes a model out of an Ollama store: its files under names that people can read, and the
// Modelfile that makes the same model again.
//
//   DIR/MODEL-TAG.gguf          the weights (of a split set -00001-of-0000N.gguf)
//   DIR/MODEL-TAG-mmproj.gguf   projectors; -adapter, -draft likewise; a number where there are
//   more DIR/Modelfile               FROM, ADAPTER, TEMPLATE, SYSTEM, PARAMETER, MESSAGE, LICENSE,
//   ... DIR/template.txt            a text that a Modelfile cannot say (formats/ollama/modelfile.h)
// Every blob's SHA-256 is checked against its name before it is placed.
#ifndef QUERN_VERIFY_OLLAMA_EXPORT_H_
#define QUERN_VERIFY_OLLAMA_EXPORT_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/ollama/stored_model.h"
#include "verify/place_file.h"

namespace quern::verify {

struct ExportedBlob {
  std::string kind;  // of the layer: "model", "projector", ...
  std::filesystem::path source;
  std::filesystem::path path;
  std::string sha256;
  uint64_t bytes = 0;
  Placement placement = Placement::kCopy;  // how it came there
};

struct OllamaExport {
  std::vector<ExportedBlob> blobs;
  std::string modelfile;  // the text of DIR/Modelfile
  // Texts that are files of their own: name in DIR, content.
  std::vector<std::pair<std::string, std::string>> texts;
};

// What an export to `folder` would write, without writing it. Throws kUnsupported for models whose
// weights are tensor layers, and what reading the layers throws.
OllamaExport PlanOllamaExport(const formats::ollama::StoredModel& model,
                              const std::filesystem::path& folder);

// Writes the plan and fills in `placement`; makes `folder`. Throws as PlaceFile, and kExists before
// anything is written. After an error nothing is left of it, but files that were there and that
// --force has replaced stay replaced.
void RunOllamaExport(const std::filesystem::path& folder, const PlaceOptions& options,
                     OllamaExport& plan);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_OLLAMA_EXPORT_H_
