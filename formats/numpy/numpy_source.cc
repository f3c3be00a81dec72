#include "formats/numpy/numpy_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "formats/core/error.h"
#include "formats/lfs/lfs_pointer.h"

namespace quern::formats::numpy {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::string_view kZipMagic("PK\x03\x04", 4);
constexpr std::string_view kExtension = ".npy";
constexpr uint64_t kFixedBytes = 12;  // magic, version and a length of up to 4 bytes

// Whether the first member of a zip is an array.
bool LooksLikeNpz(std::string_view head) {
  if (!head.starts_with(kZipMagic) || head.size() < 30) return false;
  const size_t length = static_cast<unsigned char>(head[26]) |
                        static_cast<size_t>(static_cast<unsigned char>(head[27])) << 8;
  return head.substr(30, length).ends_with(kExtension);
}

bool Matches(const Probe& probe) {
  return !probe.is_folder && (probe.head.starts_with(kMagic) || LooksLikeNpz(probe.head));
}

Error CutShort(const Where& where) {
  return Error(ErrorCode::kTruncated, where, "the array is cut short; fetch the file again");
}

// Row-major or column-major strides.
std::vector<uint64_t> StridesOf(const ArrayHeader& header) {
  std::vector<uint64_t> strides(header.shape.size());
  uint64_t step = 1;
  for (size_t i = 0; i < strides.size(); ++i) {
    const size_t d = header.fortran_order ? i : strides.size() - 1 - i;
    strides[d] = step;
    step *= header.shape[d];
  }
  return strides;
}

}  // namespace

constinit const FormatInfo kFormat = {
    "numpy", "NumPy arrays: .npy and .npz (inspect only)", &Matches,
    [](const fs::path& path, const OpenOptions&) -> std::unique_ptr<ModelSource> {
      return std::make_unique<NumpySource>(path);
    }};

NumpySource::NumpySource(const fs::path& path) : ModelSource(path) {
  files_.push_back(lfs::OpenFile(path));
  const File& file = files_.front();
  std::array<uint8_t, 4> head{};
  if (file.size() >= head.size()) file.ReadAt(0, head);
  if (!std::equal(head.begin(), head.end(), kZipMagic.begin())) {
    AddArray(path.stem().string(), nullptr);
    return;
  }
  archive_ = std::make_unique<zip::Archive>(file);
  for (const zip::Member& member : archive_->members()) {
    if (!member.name.ends_with(kExtension)) {
      throw Error(ErrorCode::kUnexpected, {file.path(), member.header_offset, member.name},
                  "a member that is no array; save the arrays again with numpy.savez");
    }
    AddArray(member.name.substr(0, member.name.size() - kExtension.size()), &member);
  }
}

void NumpySource::ReadFrom(const zip::Member* member, uint64_t offset,
                           std::span<uint8_t> out) const {
  if (member) {
    archive_->Read(*member, offset, out);
  } else {
    files_.front().ReadAt(offset, out);
  }
}

std::string NumpySource::HeaderText(const zip::Member* member, uint64_t size, const Where& where,
                                    uint64_t& begin) const {
  std::array<uint8_t, kFixedBytes> fixed{};
  if (size < kFixedBytes) throw CutShort(where);
  ReadFrom(member, 0, fixed);
  if (!std::equal(kMagic.begin(), kMagic.end(), reinterpret_cast<const char*>(fixed.data()))) {
    throw Error(ErrorCode::kBadMagic, where, "not an array that NumPy saved");
  }
  const uint8_t version = fixed[6];
  if (version < 1 || version > 3 || fixed[7] != 0) {
    throw Error(
        ErrorCode::kBadVersion, where,
        fmt::format("version {}.{} of the format; 1.0, 2.0 and 3.0 exist", version, fixed[7]));
  }
  uint64_t length = fixed[8] | uint64_t{fixed[9]} << 8;
  if (version > 1) length |= uint64_t{fixed[10]} << 16 | uint64_t{fixed[11]} << 24;
  if (length > kMaxHeaderBytes) {
    throw Error(ErrorCode::kLimitExceeded, where,
                fmt::format("a header of {} bytes; the limit is {}", length, kMaxHeaderBytes));
  }
  const uint64_t before = version == 1 ? 10 : 12;
  if (length > size - before) throw CutShort(where);
  std::string text(length, '\0');
  ReadFrom(member, before, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  begin = before + length;
  return text;
}

void NumpySource::AddArray(const std::string& name, const zip::Member* member) {
  const File& file = files_.front();
  const uint64_t size = member ? member->size : file.size();
  const Where where{file.path(), member ? member->data_offset : 0, name};
  uint64_t begin = 0;
  const ArrayHeader header = ParseHeader(HeaderText(member, size, where, begin), where);
  const auto bytes = TensorBytes(header.type, header.shape);
  if (!bytes) throw Error(ErrorCode::kBadShape, where, "a shape whose product overflows");
  if (*bytes > size - begin) throw CutShort(where);
  if (*bytes < size - begin) {
    throw Error(ErrorCode::kUnusedBytes, where,
                fmt::format("{} bytes after the array; the file is damaged or made to mislead",
                            size - begin - *bytes));
  }
  const uint32_t item = Info(header.type).block_bytes;
  const StridedView view{.shape = header.shape,
                         .strides = StridesOf(header),
                         .element_bytes = item,
                         .swap_bytes = header.big_endian && item > 1};
  arrays_.push_back({member, begin, view.Coalesced()});
  AddTensor({.name = name,
             .type = header.type,
             .shape = header.shape,
             .bytes = *bytes,
             .offset = (member ? member->data_offset : 0) + begin});
}

const NumpySource::ArrayData& NumpySource::DataOf(const TensorInfo& tensor) const {
  return arrays_[static_cast<size_t>(FindTensor(tensor.name) - tensors().data())];
}

void NumpySource::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  const ArrayData& array = DataOf(tensor);
  ReadView(array.view, offset, out, [&](uint64_t at, std::span<uint8_t> bytes) {
    ReadFrom(array.member, array.begin + at, bytes);
  });
}

void NumpySource::WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const {
  const ArrayData& array = DataOf(tensor);
  const bool in_place = !array.member || !array.member->deflated;
  if (in_place && array.view.IsContiguous()) ModelSource::WillNeed(tensor, offset, bytes);
}

}  // namespace quern::formats::numpy
