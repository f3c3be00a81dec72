// Looks for NaN and infinity in the tensors of a file while its bytes pass by in order.
#ifndef QUERN_VERIFY_TENSOR_SCAN_H_
#define QUERN_VERIFY_TENSOR_SCAN_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "verify/check_list.h"

namespace quern::verify {

// Sees any pieces of a file from its begin to its end; tells of the first such block of each
// tensor. Memory is one block.
class TensorScan {
 public:
  // `tensors` outlive the scan and lie in the order of their offsets.
  using Found = std::function<void(const StoredTensor& tensor, uint64_t block)>;
  TensorScan(std::span<const StoredTensor> tensors, Found found);
  void Update(std::span<const uint8_t> bytes);

 private:
  void Scan(const StoredTensor& tensor, std::span<const uint8_t> bytes);
  void ScanBlocks(const StoredTensor& tensor, std::span<const uint8_t> blocks);

  std::span<const StoredTensor> tensors_;  // that are not behind us
  Found found_;
  uint64_t offset_ = 0;       // in the file
  uint64_t blocks_seen_ = 0;  // of the first of tensors_
  bool told_ = false;
  std::vector<uint8_t> rest_;  // of a block that goes on in the next piece
};

// "block 17, weights 544 to 575: NaN or infinity in its scale"
std::string DescribeNonFinite(TensorType type, uint64_t block);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_TENSOR_SCAN_H_
