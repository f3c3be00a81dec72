#include "formats/torch/torch_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "formats/core/error.h"
#include "formats/huggingface/side_files.h"
#include "formats/lfs/lfs_pointer.h"
#include "formats/torch/legacy_format.h"
#include "formats/torch/pickle_machine.h"

namespace quern::formats::torch {
namespace {

namespace fs = std::filesystem;

// Memory that the pickle's objects may take beyond the size of the file.
constexpr uint64_t kHeapBytes = uint64_t{40} << 20;
constexpr uint64_t kMaxByteOrder = 16;
constexpr std::string_view kZipMagic("PK\x03\x04", 4);
constexpr std::string_view kEmptyZipMagic("PK\x05\x06", 4);

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// ANY_FOLDER/ of the one ANY_FOLDER/data.pkl.
std::string FindFolder(const zip::Archive& archive) {
  const zip::Member* found = nullptr;
  for (const auto& member : archive.members()) {
    const std::string_view name = member.name;
    const std::string_view base = name.substr(name.rfind('/') + 1);  // npos + 1 is 0
    if (std::count(name.begin(), name.end(), '/') > 1 || !EqualIgnoringCase(base, "data.pkl")) {
      continue;
    }
    if (found) {
      throw Error(
          ErrorCode::kDuplicate, {archive.file().path(), member.header_offset, member.name},
          fmt::format("a second pickle besides {}; do not use this file", Printable(found->name)));
    }
    found = &member;
  }
  if (!found || !found->name.ends_with("data.pkl")) {
    throw Error(ErrorCode::kMissing, {archive.file().path(), {}, "data.pkl"},
                "a zip archive without the member that PyTorch's files have; if it is another "
                "archive, unpack it first");
  }
  return found->name.substr(0, found->name.size() - std::string_view("data.pkl").size());
}

bool ReadByteOrder(const zip::Archive& archive, const std::string& folder) {
  const zip::Member* member = archive.Find(folder + "byteorder");
  if (!member) return false;  // written since torch 2.1
  const std::string order = archive.ReadSmall(*member, kMaxByteOrder);
  if (order != "little" && order != "big") {
    throw Error(ErrorCode::kBadValue, {archive.file().path(), member->data_offset, member->name},
                fmt::format("byte order `{}`; it must be little or big", Printable(order)));
  }
  return order == "big";
}

void RefuseTorchScript(const zip::Archive& archive, const std::string& folder) {
  for (const auto& member : archive.members()) {
    if (member.name == folder + "constants.pkl" || member.name.starts_with(folder + "code/")) {
      throw Error(ErrorCode::kUnsupported,
                  {archive.file().path(), member.header_offset, member.name},
                  "a TorchScript program; load it in PyTorch and save its state_dict()");
    }
  }
}

[[noreturn]] void RefuseTar(const fs::path& path) {
  throw Error(ErrorCode::kUnsupported, {path.string(), {}, {}},
              "the tar format of PyTorch before 0.1.10; load it in PyTorch and save it again");
}

std::string HeadOf(const File& file) {
  std::string head(std::min(file.size(), kProbeBytes), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  return head;
}

bool LooksLikeZip(std::string_view head) {
  return head.starts_with(kZipMagic) || head.starts_with(kEmptyZipMagic);
}

bool Matches(const Probe& probe) {
  if (probe.is_folder) return false;
  return LooksLikeZip(probe.head) || LooksLikeLegacy(probe.head) || LooksLikeTar(probe.head);
}

// A file with the side files of its folder: what a path given by a user opens.
class FileInFolder : public TorchSource {
 public:
  FileInFolder(const fs::path& path, const OpenOptions& options) : TorchSource(path, options) {
    side_files_ = huggingface::FindSideFiles(path.parent_path());
    config_ = huggingface::ReadConfig(side_files_);
  }
};

std::unique_ptr<ModelSource> Open(const fs::path& path, const OpenOptions& options) {
  return std::make_unique<FileInFolder>(path, options);
}

}  // namespace

// Known before any dynamic initialization: the registry copies it in one.
constinit const FormatInfo kFormat = {
    "pytorch", "PyTorch: torch.save files of any version (.pth .pt .bin .ckpt .th)", &Matches,
    &Open};

TorchSource::TorchSource(const fs::path& path, const OpenOptions& options) : ModelSource(path) {
  files_.push_back(lfs::OpenFile(path));
  const File& file = files_.front();
  const std::string head = HeadOf(file);
  if (LooksLikeTar(head)) RefuseTar(path);
  Heap heap(file.path(), kHeapBytes + file.size());
  const bool is_zip = LooksLikeZip(head);
  const Value root =
      is_zip ? LoadZip(heap, options.allow_opaque) : LoadLegacy(heap, options.allow_opaque);
  metadata_.Set("pytorch.container", std::string(is_zip ? "zip" : "legacy"));
  List(heap, root, options);
}

Value TorchSource::LoadZip(Heap& heap, bool allow_opaque) {
  const File& file = files_.front();
  archive_ = std::make_unique<zip::Archive>(file);
  const std::string folder = FindFolder(*archive_);
  RefuseTorchScript(*archive_, folder);
  big_endian_ = ReadByteOrder(*archive_, folder);
  const zip::Member& member = *archive_->Find(folder + "data.pkl");
  archive_->Verify(member);
  Where where{file.path(), {}, member.name};
  if (!member.deflated) where.offset = member.data_offset;
  PickleInput input(
      [&](uint64_t offset, std::span<uint8_t> out) { archive_->Read(member, offset, out); },
      member.size, where);
  const Value root = Machine(input, heap, {.allow_opaque = allow_opaque}).Run();
  if (input.remaining() != 0) {
    throw Error(ErrorCode::kUnusedBytes, input.At(input.position()),
                fmt::format("{} bytes after the end of the pickle; the file is damaged or made to "
                            "mislead",
                            input.remaining()));
  }
  PlaceStorages(heap, folder);
  return root;
}

void TorchSource::PlaceStorages(const Heap& heap, std::string_view folder) {
  for (const Storage& storage : heap.storages()) {
    const std::string name = fmt::format("{}data/{}", folder, storage.key);
    const zip::Member* member = archive_->Find(name);
    const Where where{heap.file(), {}, name};
    if (!member) {
      throw Error(ErrorCode::kMissing, where,
                  "the pickle needs this member; the file is damaged, fetch it again");
    }
    const uint64_t bytes = storage.elements * storage.type.element_bytes;
    if (member->size != bytes) {
      throw Error(
          ErrorCode::kMismatch, {heap.file(), member->data_offset, name},
          fmt::format("{} bytes, and the pickle says {} x {} ({} bytes); the file is damaged "
                      "or made to mislead",
                      member->size, storage.elements, storage.type_name, bytes));
    }
    places_.push_back({member, member->data_offset});
  }
}

Value TorchSource::LoadLegacy(Heap& heap, bool allow_opaque) {
  LegacyFile legacy = ReadLegacy(files_.front(), heap, allow_opaque);
  for (const uint64_t offset : legacy.storage_offsets) places_.push_back({nullptr, offset});
  return legacy.root;
}

void TorchSource::List(Heap& heap, Value root, const OpenOptions& options) {
  const File& file = files_.front();
  Listing listing = ListTensors(heap, root);
  std::string prefix = ModelPrefix(heap, root, listing);
  metadata_.Set("pytorch.root", prefix.substr(0, prefix.size() - !prefix.empty()));
  if (options.root == kWholeFile) prefix.clear();
  if (!options.root.empty() && options.root != kWholeFile) prefix = options.root + ".";
  bool any = false;
  for (const NamedTensor& named : listing.tensors) {
    if (!named.name.starts_with(prefix)) continue;
    any = true;
    const std::string_view refusal = heap.TensorOf(named.tensor).refusal;
    if (refusal.empty()) {
      AddView(heap, named, prefix);
    } else if (options.allow_opaque) {
      listing.placeholders.push_back(fmt::format("{}: {}", named.name, refusal));
    } else {
      throw Error(ErrorCode::kUnsupported, {file.path(), {}, named.name},
                  fmt::format("{}, which quern does not read; leave it out, or keep it as a "
                              "placeholder with --allow-opaque",
                              refusal));
    }
  }
  if (!any && !options.root.empty() && options.root != kWholeFile) {
    throw Error(ErrorCode::kMissing, {file.path(), {}, options.root},
                "no tensor is below this root; `quern inspect --tensors` lists them all");
  }
  if (!listing.placeholders.empty()) {
    metadata_.Set("pytorch.placeholders", Array{std::move(listing.placeholders)});
  }
}

void TorchSource::AddView(const Heap& heap, const NamedTensor& named, std::string_view prefix) {
  const Tensor& tensor = heap.TensorOf(named.tensor);
  const TensorType type = *tensor.type.tensor_type;
  const uint32_t item = tensor.type.element_bytes;
  TensorInfo info{.name = named.name.substr(prefix.size()), .type = type, .shape = tensor.shape};
  info.bytes = *TensorBytes(type, tensor.shape);  // checked when the tensor was made
  const uint32_t storage = tensor.view.storage;
  info.offset = places_[storage].offset + tensor.offset * item;
  const StridedView view{tensor.offset, tensor.shape, tensor.strides, item,
                         big_endian_ && item > 1};
  views_.push_back({view.Coalesced(), storage});
  AddTensor(std::move(info));
}

const TorchSource::View& TorchSource::ViewOf(const TensorInfo& tensor) const {
  return views_[static_cast<size_t>(FindTensor(tensor.name) - tensors().data())];
}

void TorchSource::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  const View& view = ViewOf(tensor);
  const Place& place = places_[view.storage];
  ReadView(view.view, offset, out, [&](uint64_t at, std::span<uint8_t> bytes) {
    if (place.member) {
      archive_->Read(*place.member, at, bytes);
    } else {
      files_.front().ReadAt(place.offset + at, bytes);
    }
  });
}

void TorchSource::WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const {
  const View& view = ViewOf(tensor);
  const bool in_place = !places_[view.storage].member || !places_[view.storage].member->deflated;
  if (in_place && view.view.IsContiguous()) ModelSource::WillNeed(tensor, offset, bytes);
}

}  // namespace quern::formats::torch
