#include "formats/safetensors/safetensors_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/core/json.h"
#include "formats/huggingface/side_files.h"
#include "formats/lfs/lfs_pointer.h"
#include "formats/safetensors/dtypes.h"

namespace quern::formats::safetensors {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMinHeaderBytes = 2;  // "{}"
constexpr std::string_view kMetadataKey = "__metadata__";

// One tensor's entry of the header, with errors that name it.
class Entry {
 public:
  Entry(std::string_view file, const std::string& name, const Json& json)
      : file_(file), name_(name), json_(json) {
    if (!json.is_object()) throw Fail(ErrorCode::kBadType, "the entry is no JSON object");
    for (const auto& [key, value] : json.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        throw Fail(ErrorCode::kUnexpected,
                   fmt::format("the entry has an unknown field \"{}\"; a newer version of the "
                               "format cannot be read",
                               Printable(key)));
      }
    }
  }

  // `offset` of the result counts from the start of the data.
  TensorInfo Parse() const {
    TensorInfo tensor{.name = name_, .type = Type(), .shape = ShapeOf()};
    const auto bytes = TensorBytes(tensor.type, tensor.shape);
    if (!bytes) throw Fail(ErrorCode::kBadShape, "the product of the dimensions overflows");
    const auto [begin, end] = Offsets();
    if (begin > end) {
      throw Fail(ErrorCode::kBadValue,
                 fmt::format("data_offsets begin at {} and end before, at {}", begin, end));
    }
    if (end - begin != *bytes) {
      throw Fail(ErrorCode::kMismatch,
                 fmt::format("type and shape need {} bytes and data_offsets give {}", *bytes,
                             end - begin));
    }
    tensor.bytes = *bytes;
    tensor.offset = begin;
    return tensor;
  }

 private:
  Error Fail(ErrorCode code, std::string_view message) const {
    return Error(code, {std::string(file_), {}, name_},
                 fmt::format("{}; the file is damaged or was written by faulty software", message));
  }

  const Json& Field(const char* key) const {
    const auto at = json_.find(key);
    if (at == json_.end()) {
      throw Fail(ErrorCode::kMissing, fmt::format("the entry has no \"{}\"", key));
    }
    return *at;
  }

  TensorType Type() const {
    const Json& dtype = Field("dtype");
    if (!dtype.is_string()) throw Fail(ErrorCode::kBadType, "\"dtype\" is no string");
    const auto& text = dtype.get_ref<const std::string&>();
    for (const auto& [name, type] : kDtypes) {
      if (name == text) return type;
    }
    throw Error(ErrorCode::kUnsupported, {std::string(file_), {}, name_},
                fmt::format("tensors of dtype \"{}\" are not supported; convert them to BF16, F16 "
                            "or F32 first",
                            Printable(text)));
  }

  Shape ShapeOf() const {
    const Json& list = Field("shape");
    if (!list.is_array()) throw Fail(ErrorCode::kBadType, "\"shape\" is no list");
    if (list.size() > kMaxDimensions) {
      throw Fail(ErrorCode::kBadShape,
                 fmt::format("{} dimensions; the limit is {}", list.size(), kMaxDimensions));
    }
    Shape shape;
    for (const Json& dimension : list) {
      if (!dimension.is_number_unsigned()) {
        throw Fail(ErrorCode::kBadShape,
                   fmt::format("dimension {} is no unsigned integer", shape.size()));
      }
      shape.push_back(dimension.get<uint64_t>());
    }
    return shape;
  }

  std::pair<uint64_t, uint64_t> Offsets() const {
    const Json& list = Field("data_offsets");
    if (!list.is_array()) throw Fail(ErrorCode::kBadType, "\"data_offsets\" is no list");
    if (list.size() != 2 || !list[0].is_number_unsigned() || !list[1].is_number_unsigned()) {
      throw Fail(ErrorCode::kBadValue, "\"data_offsets\" are not two unsigned integers");
    }
    return {list[0].get<uint64_t>(), list[1].get<uint64_t>()};
  }

  std::string_view file_;
  const std::string& name_;
  const Json& json_;
};

Metadata ParseMetadata(const Json& json, std::string_view file) {
  const auto fail = [&](std::string_view message) {
    return Error(ErrorCode::kBadType, {std::string(file), {}, std::string(kMetadataKey)}, message);
  };
  Metadata metadata;
  if (json.is_null()) return metadata;
  if (!json.is_object()) throw fail("is no JSON object; the file's header is damaged");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      throw fail(fmt::format("the value of \"{}\" is no string; the format allows strings only",
                             Printable(key)));
    }
    metadata.Set(key, value.get<std::string>());
  }
  return metadata;
}

// An empty tensor comes before the one that begins at the same byte.
std::vector<const TensorInfo*> ByOffset(const std::vector<TensorInfo>& tensors) {
  std::vector<const TensorInfo*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
    return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
  });
  return order;
}

// Tensors must tile the data: [0, a), [a, b), ... up to its end. `tensors` have offsets into the
// data, and are given in any order.
void CheckTiling(const std::vector<TensorInfo>& tensors, uint64_t data_begin, uint64_t data_bytes,
                 std::string_view file) {
  const auto fail = [&](ErrorCode code, uint64_t at, std::string subject, std::string_view what) {
    return Error(code, {std::string(file), data_begin + at, std::move(subject)}, what);
  };
  uint64_t end = 0;
  const TensorInfo* last = nullptr;
  for (const TensorInfo* tensor : ByOffset(tensors)) {
    if (tensor->offset + tensor->bytes > data_bytes) {
      throw fail(
          ErrorCode::kTruncated, tensor->offset, tensor->name,
          fmt::format("the tensor ends at byte {} of the data, which has {}; the file is cut "
                      "short or damaged, download it again",
                      tensor->offset + tensor->bytes, data_bytes));
    }
    if (tensor->offset < end) {
      throw fail(ErrorCode::kOverlap, tensor->offset, tensor->name,
                 fmt::format("shares bytes with \"{}\"; the file is damaged or was made to deceive",
                             Printable(last->name)));
    }
    if (tensor->offset > end) {
      throw fail(ErrorCode::kUnusedBytes, end, tensor->name,
                 fmt::format("{} bytes before this tensor belong to none; the file is damaged or "
                             "hides something",
                             tensor->offset - end));
    }
    end += tensor->bytes;
    last = tensor;
  }
  if (end < data_bytes) {
    throw fail(ErrorCode::kUnusedBytes, end, {},
               fmt::format("{} bytes after the last tensor belong to none; the file is damaged or "
                           "hides something",
                           data_bytes - end));
  }
}

Header ReadHeader(const File& file) {
  ByteReader reader(file);
  const auto length = reader.Read<uint64_t>("header length");
  if (length > kMaxHeaderBytes) {
    throw Error(ErrorCode::kLimitExceeded, {file.path(), 0, "header length"},
                fmt::format("{} bytes; the format allows {}. This is no safetensors file, or a "
                            "damaged one",
                            length, kMaxHeaderBytes));
  }
  if (length < kMinHeaderBytes) {
    throw Error(ErrorCode::kBadValue, {file.path(), 0, "header length"},
                fmt::format("{} bytes cannot hold a header; the file is damaged, download it again",
                            length));
  }
  const std::string json = reader.ReadString(length, "header");
  return ParseHeader(json, reader.remaining(), file.path());
}

bool Matches(const Probe& probe) {
  if (probe.is_folder || probe.head.empty()) return false;
  if (probe.head.size() > kLengthBytes && probe.head[kLengthBytes] == '{') return true;
  const std::string_view length = std::string_view(probe.head).substr(0, kLengthBytes);
  const bool text = std::all_of(length.begin(), length.end(), [](unsigned char c) {
    return (c >= 0x20 && c < 0x7f) || (c >= '\t' && c <= '\r');
  });
  return probe.path.extension() == ".safetensors" && !text;
}

// A file with the side files of its folder: what a path given by a user opens.
class FileInFolder : public SafetensorsSource {
 public:
  explicit FileInFolder(const fs::path& path) : SafetensorsSource(path) {
    side_files_ = huggingface::FindSideFiles(path.parent_path());
    config_ = huggingface::ReadConfig(side_files_);
  }
};

}  // namespace

Header ParseHeader(std::string_view json, uint64_t data_bytes, std::string_view file) {
  if (json.size() > kMaxHeaderBytes) {
    throw Error(ErrorCode::kLimitExceeded, {std::string(file), kLengthBytes, "header"},
                fmt::format("{} bytes; the format allows {}", json.size(), kMaxHeaderBytes));
  }
  if (!json.starts_with('{')) {
    throw Error(ErrorCode::kBadMagic, {std::string(file), kLengthBytes, "header"},
                "a safetensors header starts with '{'; this is another kind of file");
  }
  const Json root = ParseJson(json, file, {.base_offset = kLengthBytes});
  Header header;
  // Json keeps an object's members in byte order of their names.
  for (const auto& [name, value] : root.items()) {
    if (name == kMetadataKey) {
      header.metadata = ParseMetadata(value, file);
    } else {
      header.tensors.push_back(Entry(file, name, value).Parse());
    }
  }
  const uint64_t data_begin = kLengthBytes + json.size();
  CheckTiling(header.tensors, data_begin, data_bytes, file);
  for (TensorInfo& tensor : header.tensors) tensor.offset += data_begin;
  return header;
}

SafetensorsSource::SafetensorsSource(const fs::path& path) : ModelSource(path) {
  files_.push_back(lfs::OpenFile(path));
  Header header = ReadHeader(files_.front());
  for (TensorInfo& tensor : header.tensors) AddTensor(std::move(tensor));
  metadata_ = std::move(header.metadata);
}

constinit const FormatInfo kFormat = {
    "safetensors", "one .safetensors file", Matches,
    [](const fs::path& path, const OpenOptions&) -> std::unique_ptr<ModelSource> {
      return std::make_unique<FileInFolder>(path);
    }};

}  // namespace quern::formats::safetensors
