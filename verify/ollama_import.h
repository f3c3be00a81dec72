// Puts a GGUF into an Ollama store: blobs named by their SHA-256, a config and a manifest, as
// `ollama create` writes them (formats/ollama/manifest_writer.h; ollama/ollama, server/create.go).
//
// Layers stand in Ollama's order: model, projectors, adapters, template, system, licenses, params,
// messages. Every blob appears whole, under a temporary name first; the manifest comes last,
// so that what is interrupted is no model yet. Doing the same again changes nothing.
// Non-goals: Ollama's own defaults for some architectures (renderer, parser, stop), split sets
// (Ollama loads one file; `quern merge` makes it).
#ifndef QUERN_VERIFY_OLLAMA_IMPORT_H_
#define QUERN_VERIFY_OLLAMA_IMPORT_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "formats/core/model.h"
#include "formats/ollama/model_name.h"
#include "formats/ollama/modelfile.h"
#include "verify/place_file.h"

namespace quern::verify {

// A layer of the model that is to be.
struct ImportedLayer {
  std::string media_type;
  std::string sha256;
  uint64_t bytes = 0;
  std::filesystem::path source;        // a file, or
  std::string text;                    // content of which the blob is made
  std::optional<Placement> placement;  // absent: the blob was there already
};

struct OllamaImport {
  std::filesystem::path store;
  std::filesystem::path manifest_path;
  std::string manifest;  // its text
  std::vector<ImportedLayer> layers;
  ImportedLayer config;
  bool unchanged = false;  // the manifest was there already, with this text
};

// What to import: the weights, and what else a Modelfile says. Its FROM lines other than the
// weights' must name projectors; they and ADAPTER are paths below `folder`. A FROM that names no
// file (a model of Ollama's library) is left out.
struct ImportSource {
  const ModelSource* model = nullptr;
  formats::ollama::Modelfile modelfile;
  std::filesystem::path folder;
};

// Reads and hashes everything, writes nothing. Throws kUnsupported (no GGUF, a split set, a member
// of a llamafile), kMissing (a file that the Modelfile names), kUsage, and what
// formats/ollama/modelfile.h throws for parameters.
OllamaImport PlanOllamaImport(const ImportSource& source, const std::filesystem::path& store,
                              const formats::ollama::ModelName& name);

// Writes what is not there yet. Throws kExists where the name is taken by another model (unless
// options.force), kMismatch where a blob that is there is damaged (unless options.force, which
// replaces it), kUnsafe where the store's folders are links that leave it.
void RunOllamaImport(const PlaceOptions& options, OllamaImport& plan);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_OLLAMA_IMPORT_H_
