// Ollama's manifests: which blobs make a model.
//
//   {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
//    "config": LAYER, "layers": [LAYER, ...], "runner": "...", "format": "..."}
//   LAYER = {"mediaType": "...", "digest": "sha256:HEX", "size": BYTES, "from": "...",
//            "name": "..."}; the last two are optional
// A manifest list ("application/vnd.ollama.manifest.list.v2+json", Ollama of 2026) holds several
// under "manifests", one per runner, each whole or as {"digest": of a blob that is the manifest}.
// Source: ollama/ollama, manifest/manifest.go and layer.go.
#ifndef QUERN_FORMATS_OLLAMA_MANIFEST_H_
#define QUERN_FORMATS_OLLAMA_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/error.h"

namespace quern::formats::ollama {

inline constexpr std::string_view kManifestType =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kManifestListType =
    "application/vnd.ollama.manifest.list.v2+json";
inline constexpr std::string_view kConfigType = "application/vnd.docker.container.image.v1+json";
// Followed by model, projector, adapter, draft, template, system, params, messages, license,
// tensor or json.
inline constexpr std::string_view kLayerTypePrefix = "application/vnd.ollama.image.";

inline constexpr uint64_t kMaxManifestBytes = 16 << 20;  // real ones have a few KB; the largest
                                                         // name each tensor of a model

struct Layer {
  std::string media_type;
  std::string digest;  // 64 lower-case hexadecimal digits
  uint64_t size = 0;
  std::string from;  // where `ollama create` took it from; often a path of another machine
  std::string name;  // of a tensor or JSON layer

  // "model" for "application/vnd.ollama.image.model"; "" for other media types.
  std::string_view kind() const;
};

struct Manifest {
  Layer config;
  std::vector<Layer> layers;
  std::string runner;  // "" where the manifest does not say
  std::string format;  // "gguf", "safetensors", ""
  // Of an entry in a list that only names the blob of its manifest: that blob. `config` and
  // `layers` are empty then.
  std::string reference;
};

// A manifest, or the members of a manifest list. Throws what ParseJson throws, kMissing and
// kBadType for fields, kBadMagic (another schema or media type), kBadValue (digests, sizes),
// kDuplicate (two layers with the same digest and different sizes).
std::vector<Manifest> ParseManifests(std::string_view json, std::string_view file);

// The hexadecimal digits of "sha256:HEX". Throws kBadValue for anything else: upper case, another
// length, another algorithm, a path.
std::string ParseDigest(std::string_view text, const Where& where);

}  // namespace quern::formats::ollama

#endif  // QUERN_FORMATS_OLLAMA_MANIFEST_H_
