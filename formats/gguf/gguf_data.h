// Where the data of a GGUF file's tensors is, and in which byte order.
#ifndef QUERN_FORMATS_GGUF_GGUF_DATA_H_
#define QUERN_FORMATS_GGUF_GGUF_DATA_H_

#include <cstdint>
#include <span>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/gguf/gguf_header.h"

namespace quern::formats::gguf {

// Turns the tensors' stored offsets into offsets in the file, after checking that the data tiles
// the file as the format demands. `reader` stands at the end of the tensor infos. Padding after the
// last tensor (or after the header where there is none) may be absent or cut short, as some writers
// leave it. Throws as ParseHeader() says.
void PlaceTensors(Header& header, ByteReader& reader);

// Reverses the bytes of every multi-byte field of the blocks of `type` in `data`, in place:
// big-endian data becomes little-endian, and the reverse. `data` holds whole blocks.
void SwapByteOrder(TensorType type, std::span<uint8_t> data);

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_DATA_H_
