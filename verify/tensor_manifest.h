// Manifests of tensors: the SHA-256 of each tensor of a model, to be kept and checked against.
//
//   JSON   {"format": "gguf", "tensors": [{"name": ..., "type": "Q4_K", "shape": [outermost first],
//           "bytes": ..., "sha256": HEX}, ...]}; more keys are allowed
//   text   one line "HEX  NAME" per tensor, as sha256sum writes them for files
// Digests are of the contiguous, row-major, little-endian bytes, so that they do not depend on the
// container: the same tensor has the same digest in a .safetensors and in a .pth.
#ifndef QUERN_VERIFY_TENSOR_MANIFEST_H_
#define QUERN_VERIFY_TENSOR_MANIFEST_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/json.h"
#include "formats/core/model.h"
#include "verify/check_list.h"

namespace quern::verify {

inline constexpr uint64_t kMaxTensorManifestBytes = 256 << 20;

struct ManifestTensor {
  std::string name;
  std::string sha256;               // 64 lower-case hexadecimal digits
  std::optional<std::string> type;  // what a text manifest does not say
  std::optional<Shape> shape;
};

// `digests` as HashTensors() gives them.
Json TensorManifestToJson(const ModelSource& source, std::span<const std::string> digests);
std::string TensorManifestToText(const ModelSource& source, std::span<const std::string> digests);

// Of either form. Throws what ParseJson throws, kBadText, kBadType, kBadValue, kMissing and
// kDuplicate (a tensor listed twice).
std::vector<ManifestTensor> ParseTensorManifest(std::string_view text, std::string_view file);

// Problems of kinds kChecksum, "mismatch" (type or shape), kMissingFile and "unexpected", each
// naming its tensor.
std::vector<Problem> CheckTensors(const ModelSource& source, std::span<const std::string> digests,
                                  std::span<const ManifestTensor> manifest);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_TENSOR_MANIFEST_H_
