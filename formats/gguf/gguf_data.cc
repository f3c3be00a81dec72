#include "formats/gguf/gguf_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "formats/gguf/gguf_format.h"

namespace quern::formats::gguf {
namespace {

// `count` neighbouring numbers of `bytes` bytes, from `offset` on in a block. bytes 0: no field.
struct NumberField {
  uint32_t offset = 0;
  uint32_t bytes = 0;
  uint32_t count = 0;
};

struct BlockFields {
  TensorType type;
  std::array<NumberField, 2> fields;
};

// The multi-byte numbers in a block, as ggml's quantizers store them on a big-endian machine; all
// other bytes are the same in both orders. Declared fields are in ggml-common.h (struct block_*).
// Some arrays declared as bytes or u16 are stored through a wider integer (ggml-quants.c): qh of
// Q5_0 and Q5_1, the scales and signs of IQ3_XXS and the quants of IQ2_XXS as u32, the scales of
// IQ1_M as u16.
using T = TensorType;
constexpr std::array kBlockFields = {
    BlockFields{T::kQ4_0, {{{0, 2, 1}}}},
    BlockFields{T::kQ4_1, {{{0, 2, 2}}}},
    BlockFields{T::kQ5_0, {{{0, 2, 1}, {2, 4, 1}}}},
    BlockFields{T::kQ5_1, {{{0, 2, 2}, {4, 4, 1}}}},
    BlockFields{T::kQ8_0, {{{0, 2, 1}}}},
    BlockFields{T::kQ8_1, {{{0, 2, 2}}}},
    BlockFields{T::kQ2_K, {{{80, 2, 2}}}},
    BlockFields{T::kQ3_K, {{{108, 2, 1}}}},
    BlockFields{T::kQ4_K, {{{0, 2, 2}}}},
    BlockFields{T::kQ5_K, {{{0, 2, 2}}}},
    BlockFields{T::kQ6_K, {{{208, 2, 1}}}},
    BlockFields{T::kQ8_K, {{{0, 4, 1}, {260, 2, 16}}}},
    BlockFields{T::kIQ1_S, {{{0, 2, 1}, {34, 2, 8}}}},
    BlockFields{T::kIQ1_M, {{{48, 2, 4}}}},
    BlockFields{T::kIQ2_XXS, {{{0, 2, 1}, {2, 4, 16}}}},
    BlockFields{T::kIQ2_XS, {{{0, 2, 1}, {2, 2, 32}}}},
    BlockFields{T::kIQ2_S, {{{0, 2, 1}}}},
    BlockFields{T::kIQ3_XXS, {{{0, 2, 1}, {66, 4, 8}}}},
    BlockFields{T::kIQ3_S, {{{0, 2, 1}}}},
    BlockFields{T::kIQ4_NL, {{{0, 2, 1}}}},
    BlockFields{T::kIQ4_XS, {{{0, 2, 2}}}},
    BlockFields{T::kTQ1_0, {{{52, 2, 1}}}},
    BlockFields{T::kTQ2_0, {{{64, 2, 1}}}},
    BlockFields{T::kMXFP4, {}},
    BlockFields{T::kNVFP4, {}},
    BlockFields{T::kQ1_0, {{{0, 2, 1}}}},
    BlockFields{T::kQ2_0, {{{0, 2, 1}}}},
};

std::array<NumberField, 2> FieldsOf(TensorType type) {
  for (const auto& entry : kBlockFields) {
    if (entry.type == type) return entry.fields;
  }
  return {{{0, Info(type).block_bytes, 1}}};  // a plain number
}

// Offset, in the data, of the first byte after a tensor with its padding.
uint64_t PaddedEnd(const TensorInfo& tensor, uint64_t alignment) {
  return AlignUp(tensor.offset + tensor.bytes, alignment);
}

Error PlaceError(ErrorCode code, const std::string& file, const TensorInfo& tensor,
                 std::string_view message) {
  return Error(code, {file, {}, tensor.name}, message);
}

// Data inside the file that does not tile it; `first` is the first tensor out of its place.
Error BadTiling(const Header& header, const TensorInfo& first, const std::string& file) {
  std::vector<const TensorInfo*> by_offset;
  for (const auto& tensor : header.tensors) by_offset.push_back(&tensor);
  std::stable_sort(by_offset.begin(), by_offset.end(),
                   [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  uint64_t end = 0, padded_end = 0;
  for (const TensorInfo* tensor : by_offset) {
    if (tensor->offset < end) {
      return PlaceError(ErrorCode::kOverlap, file, *tensor,
                        fmt::format("its data at data offset {} begins before the tensor before it "
                                    "ends; the file is damaged",
                                    tensor->offset));
    }
    if (tensor->offset > padded_end) {
      return PlaceError(ErrorCode::kUnusedBytes, file, *tensor,
                        fmt::format("a hole of {} bytes before its data; write the file again",
                                    tensor->offset - end));
    }
    end = tensor->offset + tensor->bytes;
    padded_end = PaddedEnd(*tensor, header.alignment);
  }
  return PlaceError(ErrorCode::kBadValue, file, first,
                    "its data is unaligned or not in the order of the tensor list, which llama.cpp "
                    "refuses; write the file again");
}

// What is wrong with offsets that are not the running sum that they must be; `first` is the first
// tensor that differs.
Error BadPlaces(const Header& header, const TensorInfo& first, const std::string& file,
                uint64_t data_bytes) {
  if (first.offset % header.alignment != 0) {
    return PlaceError(ErrorCode::kBadValue, file, first,
                      fmt::format("its data offset {} is no multiple of the alignment {}; write "
                                  "the file again",
                                  first.offset, header.alignment));
  }
  for (const auto& tensor : header.tensors) {
    if (tensor.offset <= data_bytes && tensor.bytes <= data_bytes - tensor.offset) continue;
    return PlaceError(ErrorCode::kOutOfBounds, file, tensor,
                      fmt::format("{} bytes at data offset {} leave the data of {} bytes; the file "
                                  "is damaged",
                                  tensor.bytes, tensor.offset, data_bytes));
  }
  return BadTiling(header, first, file);
}

// `reader` stands where the content ends; at most `padding` bytes may follow.
void CheckEnd(ByteReader& reader, uint64_t padding) {
  if (reader.remaining() <= padding) return;
  const uint64_t at = reader.offset() + padding;
  const uint64_t unused = reader.remaining() - padding;
  // Writers that leave out the last padding make files whose joint is at the content's very end.
  const std::string tail =
      reader.ReadString(std::min(reader.remaining(), padding + kMagic.size()), "end of data");
  const bool joined = tail.starts_with(kMagic) || tail.substr(padding) == kMagic;
  throw Error(ErrorCode::kUnusedBytes, {reader.name(), at, "end of data"},
              joined ? "another GGUF file follows: split files were joined end to end, which is no "
                       "merge; take the parts as they were and use `quern merge`"
                     : fmt::format("{} bytes follow the last tensor that nothing accounts for; the "
                                   "file is damaged or carries something else",
                                   unused));
}

}  // namespace

void PlaceTensors(Header& header, ByteReader& reader) {
  const uint64_t header_end = reader.offset();
  const uint64_t file_end = header_end + reader.remaining();
  const uint64_t data_bytes = file_end > header.data_begin ? file_end - header.data_begin : 0;
  uint64_t end = 0, padded_end = 0;
  for (const auto& tensor : header.tensors) {
    if (tensor.offset != padded_end) {
      throw BadPlaces(header, tensor, reader.name(), data_bytes);
    }
    if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset) {
      throw Error(ErrorCode::kTruncated, {reader.name(), file_end, tensor.name},
                  fmt::format("its {} bytes begin at byte {} and the file ends before them; it is "
                              "cut short, fetch it again",
                              tensor.bytes, header.data_begin + tensor.offset));
    }
    end = tensor.offset + tensor.bytes;
    padded_end = PaddedEnd(tensor, header.alignment);
  }
  if (header.tensors.empty()) {
    CheckEnd(reader, header.data_begin - header_end);
    return;
  }
  reader.Skip(header.data_begin + end - header_end, "tensor data");
  CheckEnd(reader, padded_end - end);
  for (auto& tensor : header.tensors) tensor.offset += header.data_begin;
}

void SwapByteOrder(TensorType type, std::span<uint8_t> data) {
  const uint32_t block_bytes = Info(type).block_bytes;
  const auto fields = FieldsOf(type);
  for (auto* block = data.data(); block != data.data() + data.size(); block += block_bytes) {
    for (const auto& field : fields) {
      auto* number = block + field.offset;
      for (uint32_t i = 0; i < field.count; ++i, number += field.bytes) {
        std::reverse(number, number + field.bytes);
      }
    }
  }
}

}  // namespace quern::formats::gguf
