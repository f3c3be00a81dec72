// Addresses of models in the stores that people have, accepted wherever a path is:
//
//   ollama:[HOST/][NAMESPACE/]NAME[:TAG]   an Ollama store (formats/ollama)
//   hf:ORG/NAME[@REVISION]                 the local Hugging Face cache (formats/huggingface)
// A path that exists wins over an address of the same spelling. Nothing is downloaded.
#ifndef QUERN_FORMATS_ADDRESS_H_
#define QUERN_FORMATS_ADDRESS_H_

#include <filesystem>
#include <memory>
#include <string_view>

#include "formats/reader.h"

namespace quern::formats {

inline constexpr std::string_view kHubScheme = "hf:";

// Whether `model` is an address and no path that exists.
bool IsAddress(const std::filesystem::path& model);

// The path that stands for `model`: itself, the manifest of an Ollama model, the snapshot of a hub
// model. Throws what the stores throw.
std::filesystem::path ResolveAddress(const std::filesystem::path& model,
                                     const OpenOptions& options);

// Opens the model of an address. Throws as ResolveAddress and OpenModel.
std::unique_ptr<ModelSource> OpenAddress(const std::filesystem::path& model,
                                         const OpenOptions& options);

}  // namespace quern::formats

#endif  // QUERN_FORMATS_ADDRESS_H_
