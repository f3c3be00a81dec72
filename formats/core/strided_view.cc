#include "formats/core/strided_view.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace quern {
namespace {

constexpr uint64_t kWindowBytes = 256 << 10;
// Up to this gap it is cheaper to read through than to read again behind it.
constexpr uint64_t kReadThrough = 4096;

// One dimension of a box of elements: where a step leads in the storage and in the output.
struct Axis {
  uint64_t extent;
  uint64_t source;  // elements
  uint64_t target;  // elements
};

// Copies a box from the storage to the output in the storage's own order, so that windows move
// forward only.
class BoxReader {
 public:
  BoxReader(uint32_t element_bytes, const StorageRead& read) : item_(element_bytes), read_(read) {}

  // `first` is the box's first element in the storage; the axes are in no order.
  void Copy(uint64_t first, std::vector<Axis> axes, uint8_t* out) {
    std::erase_if(axes, [](const Axis& axis) { return axis.extent == 1; });
    std::stable_sort(axes.begin(), axes.end(),
                     [](const Axis& a, const Axis& b) { return a.source > b.source; });
    if (axes.empty()) axes.push_back({1, 1, 1});
    const Axis inner = axes.back();
    axes.pop_back();
    uint64_t last = first + (inner.extent - 1) * inner.source;
    for (const Axis& axis : axes) last += (axis.extent - 1) * axis.source;
    Plan(inner, axes);
    box_end_ = (last + 1) * item_;
    window_begin_ = window_end_ = 0;
    std::vector<uint64_t> index(axes.size());
    for (;;) {
      uint64_t source = first;
      uint64_t target = 0;
      for (size_t i = 0; i < axes.size(); ++i) {
        source += index[i] * axes[i].source;
        target += index[i] * axes[i].target;
      }
      CopyRun(source, inner, out + target * item_);
      size_t i = axes.size();
      while (i > 0 && ++index[i - 1] == axes[i - 1].extent) index[--i] = 0;
      if (i == 0) return;
    }
  }

 private:
  // How much to read at once: a lone element, a run, or a window over several runs.
  void Plan(const Axis& inner, const std::vector<Axis>& outer) {
    const uint64_t run = ((inner.extent - 1) * inner.source + 1) * item_;
    fetch_ = std::min(run, kWindowBytes);
    if (inner.source * item_ > kReadThrough) fetch_ = item_;
    if (fetch_ == run && !outer.empty() && outer.back().source * item_ <= run + kReadThrough) {
      fetch_ = kWindowBytes;
    }
  }

  void CopyRun(uint64_t source, const Axis& inner, uint8_t* out) {
    for (uint64_t i = 0; i < inner.extent;) {
      const uint64_t at = (source + i * inner.source) * item_;
      if (at < window_begin_ || at + item_ > window_end_) Load(at);
      const uint8_t* from = window_.data() + (at - window_begin_);
      if (inner.source == 1 && inner.target == 1) {
        const uint64_t now = std::min(inner.extent - i, (window_end_ - at) / item_);
        std::memcpy(out + i * item_, from, now * item_);
        i += now;
        continue;
      }
      std::memcpy(out + i * inner.target * item_, from, item_);
      ++i;
    }
  }

  void Load(uint64_t at) {
    window_.resize(std::max<uint64_t>(item_, std::min(fetch_, box_end_ - at)));
    read_(at, window_);
    window_begin_ = at;
    window_end_ = at + window_.size();
  }

  uint64_t item_;
  const StorageRead& read_;
  uint64_t fetch_ = 0;
  uint64_t box_end_ = 0;
  uint64_t window_begin_ = 0;
  uint64_t window_end_ = 0;
  std::vector<uint8_t> window_;
};

void SwapBytes(std::span<uint8_t> bytes, uint32_t item) {
  for (size_t at = 0; at + item <= bytes.size(); at += item) {
    std::reverse(bytes.begin() + static_cast<ptrdiff_t>(at),
                 bytes.begin() + static_cast<ptrdiff_t>(at + item));
  }
}

// Elements [begin, begin + count) in row-major order. The range is cut into boxes: runs of whole
// rows, planes, ... as large as its two ends allow.
void Gather(const StridedView& view, uint64_t begin, uint64_t count, uint8_t* out,
            const StorageRead& read) {
  const size_t rank = view.shape.size();
  std::vector<uint64_t> inner(rank, 1);  // elements in one step of a dimension
  for (size_t d = rank - 1; d > 0; --d) inner[d - 1] = inner[d] * view.shape[d];
  BoxReader box(view.element_bytes, read);
  while (count > 0) {
    uint64_t first = view.offset;
    for (size_t d = 0; d < rank; ++d) first += begin / inner[d] % view.shape[d] * view.strides[d];
    size_t d = rank - 1;
    while (d > 0 && begin % inner[d - 1] == 0 && count >= inner[d - 1]) --d;
    const uint64_t steps =
        std::min(view.shape[d] - begin / inner[d] % view.shape[d], count / inner[d]);
    std::vector<Axis> axes = {{steps, view.strides[d], inner[d]}};
    for (size_t k = d + 1; k < rank; ++k) {
      axes.push_back({view.shape[k], view.strides[k], inner[k]});
    }
    box.Copy(first, std::move(axes), out);
    begin += steps * inner[d];
    count -= steps * inner[d];
    out += steps * inner[d] * view.element_bytes;
  }
}

void ReadElements(const StridedView& view, uint64_t begin, std::span<uint8_t> out,
                  const StorageRead& read) {
  const uint64_t item = view.element_bytes;
  if (view.IsContiguous()) {
    read((view.offset + begin) * item, out);
  } else {
    Gather(view, begin, out.size() / item, out.data(), read);
  }
  if (view.swap_bytes) SwapBytes(out, view.element_bytes);
}

}  // namespace

StridedView StridedView::Coalesced() const {
  StridedView view = *this;
  view.shape.clear();
  view.strides.clear();
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    const bool continues = !view.shape.empty() && view.strides.back() == shape[i] * strides[i];
    if (continues) {
      view.shape.back() *= shape[i];
      view.strides.back() = strides[i];
    } else {
      view.shape.push_back(shape[i]);
      view.strides.push_back(strides[i]);
    }
  }
  return view;
}

bool StridedView::IsContiguous() const {
  return shape.empty() || (shape.size() == 1 && strides[0] == 1);
}

void ReadView(const StridedView& view, uint64_t begin, std::span<uint8_t> out,
              const StorageRead& read) {
  const uint64_t item = view.element_bytes;
  if (!view.swap_bytes && view.IsContiguous()) return read(view.offset * item + begin, out);
  std::array<uint8_t, 8> element;
  while (!out.empty()) {
    const uint64_t within = begin % item;
    if (within == 0 && out.size() >= item) {
      const auto whole = out.first(out.size() / item * item);
      ReadElements(view, begin / item, whole, read);
      out = out.subspan(whole.size());
      begin += whole.size();
      continue;
    }
    // Part of an element, at either end of the range.
    ReadElements(view, begin / item, std::span(element).first(item), read);
    const uint64_t now = std::min<uint64_t>(item - within, out.size());
    std::memcpy(out.data(), element.data() + within, now);
    out = out.subspan(now);
    begin += now;
  }
}

}  // namespace quern
