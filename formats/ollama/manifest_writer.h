// Manifests and configs as Ollama writes them, byte for byte: one line of JSON each (modelfile.h,
// GoJson). Source: ollama/ollama, manifest/manifest.go and layer.go, types/model/config.go.
#ifndef QUERN_FORMATS_OLLAMA_MANIFEST_WRITER_H_
#define QUERN_FORMATS_OLLAMA_MANIFEST_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "formats/ollama/manifest.h"

namespace quern::formats::ollama {

// What the config blob says of a GGUF.
struct Config {
  std::vector<std::string> families;          // architectures of the model and its projectors
  std::string model_type;                     // "8.0B" (HumanCount)
  std::string file_type;                      // "Q4_K_M"
  std::string renderer, parser, min_version;  // left out where empty; the last is "requires"
};

// With the layers' digests as rootfs.diff_ids, as releases until August 2026 wrote it; later ones
// do not read that.
std::string ConfigText(const Config& config, const std::vector<Layer>& layers);

// Of a single manifest; `runner` and `format` belong to lists and are not written.
std::string ManifestText(const Manifest& manifest);

// 8030261312 is "8.0B": thousands as "K", one decimal for billions, two for millions, none where
// the number is round.
std::string HumanCount(uint64_t count);

}  // namespace quern::formats::ollama

#endif  // QUERN_FORMATS_OLLAMA_MANIFEST_WRITER_H_
