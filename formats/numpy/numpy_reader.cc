#include "formats/numpy/numpy_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::formats::numpy {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".npy";
constexpr std::string_view kZipMagic("PK\x03\x04", 4);

// By the local header of the first member: 30 bytes, of which 26 and 27 are the name's length.
bool IsNpz(std::string_view head) {
  constexpr size_t kLocalHeaderBytes = 30, kNameLength = 26;
  if (!head.starts_with(kZipMagic) || head.size() < kLocalHeaderBytes) return false;
  const size_t length = static_cast<unsigned char>(head[kNameLength]) |
                        static_cast<size_t>(static_cast<unsigned char>(head[kNameLength + 1])) << 8;
  return head.substr(kLocalHeaderBytes, length).ends_with(kExtension);
}

bool Matches(const Probe& probe) { return probe.head.starts_with(kMagic) || IsNpz(probe.head); }

std::unique_ptr<ModelSource> Open(const fs::path& path, const OpenOptions&) {
  return std::make_unique<NumpySource>(path);
}

torch::StridedView ViewOf(const NpyHeader& header) {
  torch::StridedView view{.shape = header.shape,
                          .strides = std::vector<uint64_t>(header.shape.size()),
                          .element_bytes = Info(header.type).block_bytes,
                          .swap_bytes = header.big_endian};
  const size_t rank = header.shape.size();
  uint64_t stride = 1;
  for (size_t i = 0; i < rank; ++i) {
    const size_t axis = header.fortran_order ? i : rank - 1 - i;
    view.strides[axis] = stride;
    stride *= header.shape[axis];  // no overflow but in empty arrays, which have no elements
  }
  if (header.type == TensorType::kC64 || header.type == TensorType::kC128) {
    for (auto& step : view.strides) step *= 2;  // two numbers, each with its own byte order
    view.shape.push_back(2);
    view.strides.push_back(1);
    view.element_bytes /= 2;
  }
  return view.Coalesced();
}

}  // namespace

NumpySource::NumpySource(const fs::path& path) : ModelSource(path) {
  layout_ = "numpy";
  files_.push_back(File::Open(path));
  const File& file = files_.front();
  std::string head(std::min(file.size(), kHeadBytes), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  if (!IsNpz(head)) {
    Add(path.stem().string(), ParseNpyHeader(head, file.size(), {file.path(), 0, {}}), nullptr);
    return;
  }
  archive_ = std::make_unique<zip::Archive>(file);
  for (const zip::Member& member : archive_->members()) {
    Where where{file.path(), {}, member.name};
    if (!member.name.ends_with(kExtension)) {
      throw Error(ErrorCode::kUnexpected, where,
                  "the archive's first member is an array and this one is none; unpack it first");
    }
    if (!member.deflated) where.offset = member.data_offset;
    head.resize(std::min(member.size, kHeadBytes));
    archive_->Read(member, 0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
    const NpyHeader header = ParseNpyHeader(head, member.size, where);
    Add(member.name.substr(0, member.name.size() - kExtension.size()), header, &member);
  }
}

void NumpySource::Add(std::string name, const NpyHeader& header, const zip::Member* member) {
  const uint64_t begin = member && !member->deflated ? member->data_offset : 0;
  if (!IsValidUtf8(name)) name = ReplaceInvalidUtf8(name);
  AddTensor({.name = std::move(name),
             .type = header.type,
             .shape = header.shape,
             .bytes = header.data_bytes,
             .offset = begin + header.data_begin});
  places_.push_back({member, header.data_begin, ViewOf(header)});
}

const NumpySource::Place& NumpySource::PlaceOf(const TensorInfo& tensor) const {
  return places_[static_cast<size_t>(FindTensor(tensor.name) - tensors().data())];
}

void NumpySource::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  if (out.empty()) return;
  const Place& place = PlaceOf(tensor);
  torch::ReadView(place.view, offset, out, [&](uint64_t at, std::span<uint8_t> bytes) {
    if (place.member) {
      archive_->Read(*place.member, place.data_begin + at, bytes);
    } else {
      files_.front().ReadAt(place.data_begin + at, bytes);
    }
  });
}

void NumpySource::WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const {
  const Place& place = PlaceOf(tensor);
  const bool in_place = !place.member || !place.member->deflated;
  if (in_place && place.view.IsContiguous()) ModelSource::WillNeed(tensor, offset, bytes);
}

constinit const FormatInfo kFormat = {
    .name = "numpy",
    .description = "numpy arrays: .npy and .npz",
    .matches = Matches,
    .open = Open,
};

}  // namespace quern::formats::numpy
