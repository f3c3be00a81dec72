#include "formats/gguf/gguf_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "formats/gguf/gguf_checks.h"
#include "formats/gguf/gguf_data.h"
#include "formats/gguf/gguf_format.h"
#include "formats/gguf/gguf_split.h"
#include "formats/lfs/lfs_pointer.h"

namespace quern::formats::gguf {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMaxBlockBytes = 292;  // Q8_K

// Of the shard that the user named: its file name tells where the others are.
ShardName NameOf(const fs::path& path, const SplitKeys& split, size_t tensors) {
  const auto name = ParseShardName(path.filename().string());
  if (name && name->count == split.count) return *name;
  const Where where{path.string(), {}, std::string(kSplitCountKey)};
  if (tensors == split.tensors) {
    throw Error(ErrorCode::kMismatch, where,
                fmt::format("the file says that it is part {} of {} and holds all {} tensors: it "
                            "was merged and kept its split keys; remove them",
                            split.no + 1, split.count, tensors));
  }
  throw Error(
      ErrorCode::kMismatch, where,
      fmt::format("the file says that it is part {} of {}, so its name must end in "
                  "{}; rename it and put the other parts beside it",
                  split.no + 1, split.count, MakeShardName({"", split.no + 1, split.count})));
}

bool IsOfTheFile(std::string_view key) {
  return key == kAlignmentKey ||
         std::find(kSplitKeys.begin(), kSplitKeys.end(), key) != kSplitKeys.end();
}

bool Matches(const Probe& probe) {
  // Byte-swapped too, for the parser's error.
  return probe.head.starts_with(kMagic) || probe.head.starts_with("FUGG");
}

std::unique_ptr<ModelSource> Open(const fs::path& path, const OpenOptions&) {
  return std::make_unique<GgufSource>(path);
}

}  // namespace

GgufSource::GgufSource(const fs::path& path) : ModelSource(path) {
  Shard opened = OpenShard({.path = path});
  if (ReadSplitKeys(opened.header.metadata, opened.file.path())) {
    OpenSet(opened);
  } else {
    Add(std::move(opened));
  }
  Finish();
}

GgufSource::GgufSource(const fs::path& named, std::span<const Part> parts) : ModelSource(named) {
  std::vector<std::pair<SplitKeys, Shard>> numbered;
  for (const Part& part : parts) {
    Shard shard = OpenShard(part);
    const auto split = ReadSplitKeys(shard.header.metadata, shard.file.path());
    if (!split && parts.size() > 1) {
      throw Error(ErrorCode::kMismatch, {shard.file.path(), {}, std::string(kSplitCountKey)},
                  "several GGUF files stand for one model and this one is no part of a split set");
    }
    numbered.emplace_back(split.value_or(SplitKeys{}), std::move(shard));
  }
  std::stable_sort(numbered.begin(), numbered.end(),
                   [](const auto& a, const auto& b) { return a.first.no < b.first.no; });
  const SplitKeys split = numbered.front().first;
  if (split.count == 0) {
    Add(std::move(numbered.front().second));
  } else {
    std::vector<Shard> shards;
    for (auto& [keys, shard] : numbered) shards.push_back(std::move(shard));
    if (shards.size() != split.count) {
      throw Error(ErrorCode::kMissing, {named.string(), {}, std::string(kSplitCountKey)},
                  fmt::format("the model was split into {} parts and {} are here; fetch it again",
                              split.count, shards.size()));
    }
    AddSet(std::move(shards), split);
  }
  Finish();
}

void GgufSource::Finish() {
  layout_ = "gguf";
  for (const auto key : kSplitKeys) metadata_.Remove(key);
  CheckTokenizer(metadata_, files_.front().path());
}

GgufSource::Shard GgufSource::OpenShard(const Part& part) {
  File file = lfs::OpenFile(part.path);
  if (part.begin > file.size() || part.bytes.value_or(0) > file.size() - part.begin) {
    throw Error(ErrorCode::kOutOfBounds, {file.path(), part.begin, {}},
                fmt::format("the GGUF here leaves the file of {} bytes; the file is cut short, "
                            "fetch it again",
                            file.size()));
  }
  ByteReader reader(file, part.begin, part.bytes ? part.begin + *part.bytes : file.size());
  Header header = ParseHeader(reader);
  return {std::move(file), std::move(header)};
}

void GgufSource::OpenSet(const Shard& opened) {
  const auto split = *ReadSplitKeys(opened.header.metadata, opened.file.path());
  const ShardName name = NameOf(path(), split, opened.header.tensors.size());
  std::vector<Shard> shards;
  for (uint32_t no = 0; no < split.count; ++no) {
    const fs::path shard_path =
        path().parent_path() / MakeShardName({name.prefix, no + 1, split.count});
    if (!fs::exists(shard_path)) {
      throw Error(ErrorCode::kMissing, {shard_path.string(), {}, {}},
                  fmt::format("part {} of {} of this split model is missing; fetch it and put it "
                              "beside the others",
                              no + 1, split.count));
    }
    shards.push_back(OpenShard({.path = shard_path}));
  }
  AddSet(std::move(shards), split);
}

// `split`: what the shard that the user named says of its set.
void GgufSource::AddSet(std::vector<Shard> shards, const SplitKeys& split) {
  for (uint32_t no = 0; no < split.count; ++no) {
    CheckShard(shards[no], no, split);
    Add(std::move(shards[no]));
  }
  if (tensors().size() != split.tensors) {
    throw Error(ErrorCode::kMismatch, {path().string(), {}, std::string(kSplitTensorsKey)},
                fmt::format("{} tensors are promised and the {} parts hold {}; parts of different "
                            "sets were mixed or damaged, fetch them again",
                            split.tensors, split.count, tensors().size()));
  }
}

// `shard` was found under the name of part `no` of the set `of_set`.
void GgufSource::CheckShard(const Shard& shard, uint32_t no, const SplitKeys& of_set) const {
  const std::string& file = shard.file.path();
  const auto mismatch = [&](std::string_view key, std::string_view message) {
    return Error(ErrorCode::kMismatch, {file, {}, std::string(key)}, message);
  };
  const auto own = ReadSplitKeys(shard.header.metadata, file);
  if (!own || own->count != of_set.count) {
    throw mismatch(kSplitCountKey,
                   fmt::format("the file says that its set has {} parts, and the name says {}; "
                               "parts of different sets were mixed",
                               own ? own->count : 1, of_set.count));
  }
  if (own->no < no) {
    throw Error(ErrorCode::kDuplicate, {file, {}, std::string(kSplitNoKey)},
                fmt::format("the file under the name of part {} is part {} again; fetch part {}",
                            no + 1, own->no + 1, no + 1));
  }
  if (own->no != no) {
    throw mismatch(kSplitNoKey, fmt::format("the file under the name of part {} is part {}; names "
                                            "were swapped, or one part copied over another",
                                            no + 1, own->no + 1));
  }
  if (own->tensors != of_set.tensors) {
    throw mismatch(kSplitTensorsKey,
                   fmt::format("the file's set has {} tensors and that of {} has "
                               "{}; parts of different sets were mixed",
                               own->tensors, path().filename().string(), of_set.tensors));
  }
  if (no == 0) return;
  for (const auto& [key, value] : shard.header.metadata.entries()) {
    const Value* first = metadata_.Find(key);
    if (IsOfTheFile(key) || (first && *first == value)) continue;
    throw mismatch(key,
                   "this key differs from the first part's; parts of different sets were mixed");
  }
}

void GgufSource::Add(Shard shard) {
  const auto index = static_cast<uint32_t>(files_.size());
  files_.push_back(std::move(shard.file));
  endians_.push_back(shard.header.endian);
  if (index == 0) metadata_ = std::move(shard.header.metadata);
  for (auto& tensor : shard.header.tensors) {
    tensor.file = index;
    AddTensor(std::move(tensor));
  }
}

void GgufSource::Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const {
  if (endians_[tensor.file] == std::endian::little) return ModelSource::Read(tensor, offset, out);
  const uint64_t block_bytes = Info(tensor.type).block_bytes;
  while (!out.empty()) {
    const uint64_t within = offset % block_bytes;
    uint64_t done = out.size() - out.size() % block_bytes;
    if (within == 0 && done > 0) {
      ModelSource::Read(tensor, offset, out.first(done));
      SwapByteOrder(tensor.type, out.first(done));
    } else {  // part of a block, at either end of the range
      std::array<uint8_t, kMaxBlockBytes> buffer;
      const std::span block(buffer.data(), block_bytes);
      ModelSource::Read(tensor, offset - within, block);
      SwapByteOrder(tensor.type, block);
      done = std::min<uint64_t>(block_bytes - within, out.size());
      std::memcpy(out.data(), block.data() + within, done);
    }
    offset += done;
    out = out.subspan(done);
  }
}

constinit const FormatInfo kFormat = {
    .name = "gguf",
    .description = "GGUF versions 1 to 3, both byte orders, single files and split sets",
    .matches = Matches,
    .open = Open,
};

}  // namespace quern::formats::gguf
