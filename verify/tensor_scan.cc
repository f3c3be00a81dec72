#include "verify/tensor_scan.h"

#include <fmt/format.h>

#include <algorithm>

#include "quant/finite_blocks.h"

namespace quern::verify {

TensorScan::TensorScan(std::span<const StoredTensor> tensors, Found found)
    : tensors_(tensors), found_(std::move(found)) {}

void TensorScan::Update(std::span<const uint8_t> bytes) {
  const uint64_t end = offset_ + bytes.size();
  while (!tensors_.empty()) {
    const StoredTensor& tensor = tensors_.front();
    const uint64_t tensor_end = tensor.offset + tensor.bytes;
    if (tensor.offset >= end && tensor.bytes > 0) break;
    const uint64_t from = std::max(tensor.offset, offset_);
    const uint64_t to = std::min(tensor_end, end);
    if (from < to) Scan(tensor, bytes.subspan(from - offset_, to - from));
    if (tensor_end > end) break;
    tensors_ = tensors_.subspan(1);
    blocks_seen_ = 0;
    told_ = false;
    rest_.clear();
  }
  offset_ = end;
}

void TensorScan::Scan(const StoredTensor& tensor, std::span<const uint8_t> bytes) {
  if (told_ || !quant::CanBeNonFinite(tensor.type)) return;
  const size_t block_bytes = Info(tensor.type).block_bytes;
  if (!rest_.empty()) {
    const size_t missing = std::min(block_bytes - rest_.size(), bytes.size());
    rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(missing));
    bytes = bytes.subspan(missing);
    if (rest_.size() < block_bytes) return;
    ScanBlocks(tensor, rest_);
    rest_.clear();
  }
  const size_t whole = bytes.size() / block_bytes * block_bytes;
  ScanBlocks(tensor, bytes.first(whole));
  rest_.assign(bytes.begin() + static_cast<ptrdiff_t>(whole), bytes.end());
}

void TensorScan::ScanBlocks(const StoredTensor& tensor, std::span<const uint8_t> blocks) {
  if (told_) return;
  if (const auto block = quant::FirstNonFiniteBlock(tensor.type, blocks)) {
    found_(tensor, blocks_seen_ + *block);
    told_ = true;
  }
  blocks_seen_ += blocks.size() / Info(tensor.type).block_bytes;
}

std::string DescribeNonFinite(TensorType type, uint64_t block) {
  const uint64_t weights = Info(type).block_elements;
  if (weights == 1) return fmt::format("weight {} ({}) is NaN or infinite", block, Name(type));
  return fmt::format("block {} ({}, weights {} to {}) has a scale that is NaN or infinite", block,
                     Name(type), block * weights, block * weights + weights - 1);
}

}  // namespace quern::verify
