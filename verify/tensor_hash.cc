#include "verify/tensor_hash.h"

#include <omp.h>

#include <algorithm>
#include <exception>

#include "verify/sha256.h"

namespace quern::verify {
namespace {

constexpr uint64_t kPiece = 4 << 20;

std::string HashTensor(const ModelSource& source, const TensorInfo& tensor,
                       std::vector<uint8_t>& buffer) {
  Sha256 hash;
  for (uint64_t offset = 0; offset < tensor.bytes; offset += kPiece) {
    const uint64_t bytes = std::min(kPiece, tensor.bytes - offset);
    buffer.resize(bytes);
    source.WillNeed(tensor, offset + bytes, std::min(kPiece, tensor.bytes - offset - bytes));
    source.Read(tensor, offset, buffer);
    hash.Update(buffer);
  }
  return hash.HexDigest();
}

}  // namespace

std::vector<std::string> HashTensors(const ModelSource& source, int threads) {
  const auto count = static_cast<int64_t>(source.tensors().size());
  std::vector<std::string> digests(static_cast<size_t>(count));
  int64_t failed = count;
  std::exception_ptr error;
#pragma omp parallel num_threads(threads > 0 ? threads : omp_get_max_threads())
  {
    std::vector<uint8_t> buffer;
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < count; ++i) {
      try {  // an exception must not leave the parallel region
        digests[i] = HashTensor(source, source.tensors()[i], buffer);
      } catch (...) {
#pragma omp critical(quern_hash_error)
        if (i < failed) {
          failed = i;
          error = std::current_exception();
        }
      }
    }
  }
  if (error) std::rethrow_exception(error);
  return digests;
}

}  // namespace quern::verify
