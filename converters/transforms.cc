#include "converters/transforms.h"

#include <algorithm>
#include <cstring>
#include <vector>

// Bytes are moved here, not computed with, so these are loops over memory: measured on AVX2, whole
// rows by memcpy move 21 GB/s and the tiles below 3.2 GB/s, where assignments of transposed xtensor
// views give 0.3 and 0.65 GB/s.
namespace quern::converters {
namespace {

// A tile of the transpose: 64 x 64 elements of 4 bytes are 16 KiB on each side, so that both stay
// in a 32 KiB L1 cache.
constexpr uint64_t kTile = 64;

// The columns [column, column + width) of `height` input rows, in memory with `pitch` elements from
// row to row, become columns [row, row + height) of the output, which has `out_pitch` columns.
template <typename T>
void TransposeTiles(const T* in, uint64_t height, uint64_t width, uint64_t pitch, T* out,
                    uint64_t out_pitch) {
  for (uint64_t r = 0; r < height; r += kTile) {
    const uint64_t tile_rows = std::min(kTile, height - r);
    for (uint64_t c = 0; c < width; c += kTile) {
      const uint64_t tile_columns = std::min(kTile, width - c);
      const T* from = in + r * pitch + c;
      T* to = out + c * out_pitch + r;
      for (uint64_t j = 0; j < tile_columns; ++j) {
        for (uint64_t i = 0; i < tile_rows; ++i) to[j * out_pitch + i] = from[i * pitch + j];
      }
    }
  }
}

struct Strip {
  uint64_t height, width, pitch;  // elements
  uint64_t out_pitch;
};

void TransposeStrip(uint64_t element_bytes, const Strip& strip, const uint8_t* in, uint8_t* out) {
  const auto run = [&]<typename T>(T) {
    TransposeTiles(reinterpret_cast<const T*>(in), strip.height, strip.width, strip.pitch,
                   reinterpret_cast<T*>(out), strip.out_pitch);
  };
  switch (element_bytes) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return run(uint32_t{});
    default:
      return run(uint64_t{});
  }
}

}  // namespace

void TransposeElements(uint64_t rows, uint64_t columns, uint64_t element_bytes,
                       const ReadElements& read, uint64_t first, uint64_t count,
                       std::span<uint8_t> out) {
  if (count == 0) return;
  // An output row is a column of the input: `rows` elements long.
  const uint64_t begin = first / rows, end = (first + count + rows - 1) / rows;
  if (first % rows != 0 || count % rows != 0) {
    std::vector<uint8_t> whole((end - begin) * rows * element_bytes);
    TransposeElements(rows, columns, element_bytes, read, begin * rows, (end - begin) * rows,
                      whole);
    std::memcpy(out.data(), whole.data() + (first - begin * rows) * element_bytes, out.size());
    return;
  }
  const uint64_t width = end - begin;
  // One read of whole rows costs less than a read per row where a good part of each is wanted.
  const bool whole_rows = width * 4 >= columns;
  const uint64_t pitch = whole_rows ? columns : width;
  const uint64_t height =
      std::clamp<uint64_t>(kTransformScratchBytes / (pitch * element_bytes), 1, rows);
  std::vector<uint8_t> scratch(height * pitch * element_bytes);
  for (uint64_t row = 0; row < rows; row += height) {
    const uint64_t n = std::min(height, rows - row);
    if (whole_rows) {
      read(row * columns, n * columns, {scratch.data(), n * columns * element_bytes});
    } else {
      for (uint64_t i = 0; i < n; ++i) {
        read((row + i) * columns + begin, width,
             {scratch.data() + i * width * element_bytes, width * element_bytes});
      }
    }
    TransposeStrip(element_bytes, {n, width, pitch, rows},
                   scratch.data() + (whole_rows ? begin * element_bytes : 0),
                   out.data() + row * element_bytes);
  }
}

namespace {

// Whole pairs [begin, end) of one head into `out`: pair i is unit i of the head's first half and
// unit i of its second half.
void InterleavePairs(const RopeLayout& layout, uint64_t head, uint64_t begin, uint64_t end,
                     const ReadElements& read, std::span<uint8_t> out) {
  const uint64_t half = layout.units / layout.heads / 2;
  const uint64_t unit_bytes = layout.unit_elements * layout.element_bytes;
  const uint64_t step =
      std::clamp<uint64_t>(kTransformScratchBytes / (2 * unit_bytes), 1, end - begin);
  std::vector<uint8_t> scratch(2 * step * unit_bytes);
  for (uint64_t i = begin; i < end; i += step) {
    const uint64_t n = std::min(step, end - i);
    for (uint64_t k = 0; k < 2; ++k) {
      read((head * 2 * half + k * half + i) * layout.unit_elements, n * layout.unit_elements,
           {scratch.data() + k * n * unit_bytes, n * unit_bytes});
    }
    uint8_t* pairs = out.data() + 2 * (i - begin) * unit_bytes;
    for (uint64_t p = 0; p < n; ++p) {
      for (uint64_t k = 0; k < 2; ++k) {
        std::memcpy(pairs + (2 * p + k) * unit_bytes, scratch.data() + (k * n + p) * unit_bytes,
                    unit_bytes);
      }
    }
  }
}

}  // namespace

void PermuteRopeElements(const RopeLayout& layout, const ReadElements& read, uint64_t first,
                         uint64_t count, std::span<uint8_t> out) {
  const uint64_t head_units = layout.units / layout.heads;
  const uint64_t pair = 2 * layout.unit_elements;
  while (count > 0) {
    const uint64_t head = first / (head_units * layout.unit_elements);
    const uint64_t head_begin = head * head_units * layout.unit_elements;
    const uint64_t n = std::min(count, head_begin + head_units * layout.unit_elements - first);
    const uint64_t begin = (first - head_begin) / pair;
    const uint64_t end = (first - head_begin + n + pair - 1) / pair;
    const uint64_t bytes = n * layout.element_bytes;
    if ((end - begin) * pair == n) {
      InterleavePairs(layout, head, begin, end, read, out.first(bytes));
    } else {
      std::vector<uint8_t> whole((end - begin) * pair * layout.element_bytes);
      InterleavePairs(layout, head, begin, end, read, whole);
      const uint64_t skip = (first - head_begin - begin * pair) * layout.element_bytes;
      std::memcpy(out.data(), whole.data() + skip, bytes);
    }
    first += n;
    count -= n;
    out = out.subspan(bytes);
  }
}

namespace {

// Where the two halves of a head go, from some pair on; null: not wanted.
struct Halves {
  uint8_t* at[2];
};

// Whole pairs [begin, end) of one head: unit k of pair i is unit i of half k.
void SplitPairs(const RopeLayout& layout, uint64_t head, uint64_t begin, uint64_t end,
                const ReadElements& read, const Halves& halves) {
  const uint64_t head_units = layout.units / layout.heads;
  const uint64_t unit_bytes = layout.unit_elements * layout.element_bytes;
  const uint64_t step =
      std::clamp<uint64_t>(kTransformScratchBytes / (2 * unit_bytes), 1, end - begin);
  std::vector<uint8_t> scratch(2 * step * unit_bytes);
  for (uint64_t i = begin; i < end; i += step) {
    const uint64_t n = std::min(step, end - i);
    read((head * head_units + 2 * i) * layout.unit_elements, 2 * n * layout.unit_elements,
         {scratch.data(), 2 * n * unit_bytes});
    for (uint64_t k = 0; k < 2; ++k) {
      if (halves.at[k] == nullptr) continue;
      for (uint64_t p = 0; p < n; ++p) {
        std::memcpy(halves.at[k] + (i - begin + p) * unit_bytes,
                    scratch.data() + (2 * p + k) * unit_bytes, unit_bytes);
      }
    }
  }
}

}  // namespace

void UnpermuteRopeElements(const RopeLayout& layout, const ReadElements& read, uint64_t first,
                           uint64_t count, std::span<uint8_t> out) {
  const uint64_t size = layout.unit_elements;
  const uint64_t unit_bytes = size * layout.element_bytes;
  uint64_t unit = first / size;
  const uint64_t end = (first + count + size - 1) / size;
  if (first % size != 0 || count % size != 0) {
    std::vector<uint8_t> whole((end - unit) * unit_bytes);
    UnpermuteRopeElements(layout, read, unit * size, (end - unit) * size, whole);
    std::memcpy(out.data(), whole.data() + (first - unit * size) * layout.element_bytes,
                out.size());
    return;
  }
  const uint64_t half = layout.units / layout.heads / 2;
  uint8_t* at = out.data();
  while (unit < end) {
    const uint64_t head = unit / (2 * half), within = unit % (2 * half);
    uint64_t n = 2 * half;
    if (within == 0 && end - unit >= n) {
      SplitPairs(layout, head, 0, half, read, {{at, at + half * unit_bytes}});
    } else {
      const uint64_t pair = within % half;
      n = std::min(half - pair, end - unit);
      const bool second = within >= half;
      SplitPairs(layout, head, pair, pair + n, read,
                 {{second ? nullptr : at, second ? at : nullptr}});
    }
    unit += n;
    at += n * unit_bytes;
  }
}

}  // namespace quern::converters
