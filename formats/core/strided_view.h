// Row-major bytes of a tensor that lies in its storage with any strides: transposed, sliced,
// expanded, Fortran order. Any byte range can be asked for; memory is one window.
#ifndef QUERN_FORMATS_CORE_STRIDED_VIEW_H_
#define QUERN_FORMATS_CORE_STRIDED_VIEW_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace quern {

struct StridedView {
  uint64_t offset = 0;            // elements, of the first element in the storage
  std::vector<uint64_t> shape;    // outermost first
  std::vector<uint64_t> strides;  // elements
  uint32_t element_bytes = 1;     // 1, 2, 4 or 8
  bool swap_bytes = false;        // the storage is big-endian

  // The same elements with as few dimensions as possible: none of size 1, none that continues the
  // one outside it. Contiguous tensors come out with one dimension of stride 1, or none.
  StridedView Coalesced() const;
  bool IsContiguous() const;  // of a coalesced view
};

// Reads bytes of the storage.
using StorageRead = std::function<void(uint64_t offset, std::span<uint8_t> out)>;

// Fills `out` from byte `begin` of the row-major data of a coalesced view. The range lies inside
// the data and the view inside the storage.
void ReadView(const StridedView& view, uint64_t begin, std::span<uint8_t> out,
              const StorageRead& read);

}  // namespace quern

#endif  // QUERN_FORMATS_CORE_STRIDED_VIEW_H_
