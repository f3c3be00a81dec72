// SHA-256 of every tensor of a model, over its contiguous little-endian bytes.
#ifndef QUERN_VERIFY_TENSOR_HASH_H_
#define QUERN_VERIFY_TENSOR_HASH_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "formats/core/model.h"

namespace quern::verify {

// One digest (64 lower-case hexadecimal digits) per tensor, in the order of source.tensors().
// Tensors are hashed in parallel, each read once in pieces of a few MiB. `threads` 0: all cores.
// `progress` gets bytes, by one thread at a time, and may throw.
std::vector<std::string> HashTensors(
    const ModelSource& source, int threads = 0,
    const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace quern::verify

#endif  // QUERN_VERIFY_TENSOR_HASH_H_
