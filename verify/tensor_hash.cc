#include "verify/tensor_hash.h"

#include <algorithm>
#include <mutex>
#include <numeric>

#include "converters/parallel.h"
#include "verify/sha256.h"

namespace quern::verify {
namespace {

constexpr uint64_t kPiece = 4 << 20;

using Advance = std::function<void(uint64_t bytes)>;

std::string HashTensor(const ModelSource& source, const TensorInfo& tensor,
                       std::vector<uint8_t>& buffer, const Advance& advance) {
  Sha256 hash;
  for (uint64_t offset = 0; offset < tensor.bytes; offset += kPiece) {
    const uint64_t bytes = std::min(kPiece, tensor.bytes - offset);
    buffer.resize(bytes);
    source.WillNeed(tensor, offset + bytes, std::min(kPiece, tensor.bytes - offset - bytes));
    source.Read(tensor, offset, buffer);
    hash.Update(buffer);
    advance(bytes);
  }
  return hash.HexDigest();
}

}  // namespace

std::vector<std::string> HashTensors(
    const ModelSource& source, int threads,
    const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const auto& tensors = source.tensors();
  std::vector<std::string> digests(tensors.size());
  const uint64_t total =
      std::accumulate(tensors.begin(), tensors.end(), uint64_t{0},
                      [](uint64_t sum, const TensorInfo& tensor) { return sum + tensor.bytes; });
  std::mutex mutex;
  uint64_t done = 0;
  const Advance advance = [&](uint64_t bytes) {
    if (!progress) return;
    const std::lock_guard lock(mutex);
    done += bytes;
    progress(done, total);
  };
  converters::ForEachInParallel<std::vector<uint8_t>>(
      static_cast<int64_t>(tensors.size()), threads, [&](int64_t i, std::vector<uint8_t>& buffer) {
        const auto index = static_cast<size_t>(i);
        digests[index] = HashTensor(source, tensors[index], buffer, advance);
      });
  return digests;
}

}  // namespace quern::verify
