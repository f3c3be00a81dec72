// An Ollama store built by a test: right in every field, with small GGUFs in place of large ones.
//
// What a test wants wrong it breaks afterwards, in the files.
#ifndef QUERN_TESTS_SUPPORT_OLLAMA_STORE_H_
#define QUERN_TESTS_SUPPORT_OLLAMA_STORE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quern::testing {

// 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::string_view bytes);

// A whole GGUF of about 10 KiB: a llama of one block with a vocabulary of 32, weights in F32 and
// Q8_0. Different seeds give different weights.
std::string SmallGguf(uint32_t seed = 1);

// A layer for OllamaStore::AddModel.
struct OllamaLayer {
  std::string kind;     // "model", "template", ...: what follows application/vnd.ollama.image.
  std::string content;  // of its blob
  std::string from;     // absent from the manifest where empty
  std::string name;     // the same
};

class OllamaStore {
 public:
  // Makes `root` with blobs/ and manifests/.
  explicit OllamaStore(std::filesystem::path root);

  const std::filesystem::path& root() const { return root_; }

  // Writes blobs/sha256-HEX and returns HEX.
  std::string AddBlob(std::string_view content) const;
  std::filesystem::path BlobPath(std::string_view digest) const;

  // Writes the layers' blobs, the config's and the manifest, as Ollama does: one line of JSON.
  // `name` is HOST/NAMESPACE/MODEL/TAG. Returns the manifest's path.
  std::filesystem::path AddModel(std::string_view name,
                                 const std::vector<OllamaLayer>& layers) const;

  // A model for each real manifest below `manifests` (../shared/fixtures/ollama/manifests): same
  // name and layers; GGUFs where weights are, text of the layer's kind elsewhere. Returns the
  // manifests' paths, by name.
  std::vector<std::filesystem::path> AddLike(const std::filesystem::path& manifests) const;

 private:
  std::filesystem::path root_;
};

}  // namespace quern::testing

#endif  // QUERN_TESTS_SUPPORT_OLLAMA_STORE_H_
