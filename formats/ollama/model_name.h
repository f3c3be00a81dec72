// Names of models as Ollama writes them: [HOST/][NAMESPACE/]MODEL[:TAG].
//
// What is left out is registry.ollama.ai, library and latest. Rules of the parts are Ollama's
// (ollama/ollama, types/model/name.go): 1 to 80 letters, digits, '_', '-' and '.' (no '.' in a
// namespace), a letter, digit or '_' first; a host has up to 350 and may hold ':'. No part can
// leave a folder.
#ifndef QUERN_FORMATS_OLLAMA_MODEL_NAME_H_
#define QUERN_FORMATS_OLLAMA_MODEL_NAME_H_

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace quern::formats::ollama {

struct ModelName {
  std::string host;
  std::string name_space;
  std::string model;
  std::string tag;
  bool operator==(const ModelName&) const = default;

  // As short as Ollama prints it: "llama3.1:8b", "someone/model:latest".
  std::string ShortText() const;
  // HOST/NAMESPACE/MODEL/TAG: where the manifest is below manifests/.
  std::filesystem::path ManifestPath() const;
};

// Throws kUsage where `text` is no such name.
ModelName ParseModelName(std::string_view text);

// The name whose ManifestPath() is `path`. Absent where a part breaks the rules.
std::optional<ModelName> ModelNameFromPath(const std::filesystem::path& path);

}  // namespace quern::formats::ollama

#endif  // QUERN_FORMATS_OLLAMA_MODEL_NAME_H_
