#include "formats/torch/legacy_format.h"

#include <fmt/format.h>

#include <optional>
#include <unordered_map>

#include "formats/core/byte_reader.h"
#include "formats/core/error.h"
#include "formats/torch/pickle_machine.h"

namespace quern::formats::torch {
namespace {

// 0x1950a86a20f9469cfc6c, little-endian, as LONG1 stores it.
constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
// The same as protocols 0 and 1 write it.
constexpr std::string_view kMagicLine = "L119547037146038801333356L\n";
constexpr int64_t kProtocolVersion = 1001;
constexpr std::string_view kDamaged = "the file is damaged or made to mislead";

std::vector<Value> StorageKeys(const Heap& heap, Value list) {
  if (list.kind != Kind::kList) {
    throw Error(
        ErrorCode::kBadType, {heap.file(), {}, "storage keys"},
        fmt::format("{} in place of the list of storages; {}", KindName(list.kind), kDamaged));
  }
  return heap.Items(list);
}

// Reads one record's size and steps over its data.
uint64_t StepOverStorage(ByteReader& reader, const Storage& storage) {
  const std::string field = "storage " + Printable(storage.key);
  const uint64_t elements = reader.Read<uint64_t>(field);
  if (elements != storage.elements) {
    throw reader.Fail(ErrorCode::kMismatch, field,
                      fmt::format("{} elements here and {} in the pickle; {}", elements,
                                  storage.elements, kDamaged));
  }
  const uint64_t offset = reader.offset();
  reader.Require(elements, storage.type.element_bytes, field);
  reader.Skip(elements * storage.type.element_bytes, field);
  return offset;
}

std::vector<uint64_t> FindStorages(const File& file, uint64_t begin, const Heap& heap,
                                   const std::vector<Value>& keys) {
  std::unordered_map<std::string_view, size_t> index;
  const auto& storages = heap.storages();
  for (size_t i = 0; i < storages.size(); ++i) index.emplace(storages[i].key, i);
  std::vector<std::optional<uint64_t>> found(storages.size());
  ByteReader reader(file, begin, file.size());
  for (const Value key : keys) {
    const auto at = key.kind == Kind::kString ? index.find(heap.Text(key)) : index.end();
    if (at == index.end()) {
      throw reader.Fail(ErrorCode::kUnexpected, "storage keys",
                        fmt::format("a storage that the pickle does not mention; {}", kDamaged));
    }
    if (found[at->second]) {
      throw reader.Fail(ErrorCode::kDuplicate, "storage " + Printable(at->first),
                        fmt::format("this storage is listed twice; {}", kDamaged));
    }
    found[at->second] = StepOverStorage(reader, storages[at->second]);
  }
  if (reader.remaining() != 0) {
    throw reader.Fail(
        ErrorCode::kUnusedBytes, {},
        fmt::format("{} bytes after the last storage; {}", reader.remaining(), kDamaged));
  }
  std::vector<uint64_t> offsets;
  for (size_t i = 0; i < found.size(); ++i) {
    if (!found[i]) {
      throw Error(ErrorCode::kMissing,
                  {file.path(), begin, "storage " + Printable(storages[i].key)},
                  "the file does not hold this storage; it is damaged, fetch it again");
    }
    offsets.push_back(*found[i]);
  }
  return offsets;
}

}  // namespace

bool LooksLikeLegacy(std::string_view head) {
  const bool binary = head.size() >= 3 && head[0] == '\x80' && head[1] >= 0 && head[1] <= 5;
  // A safetensors header of 128 + 256 n bytes begins with PROTO, too.
  constexpr std::string_view kRestOfLength("\0\0\0\0{", 5);
  const bool safetensors = head.size() > 8 && head.substr(4, 5) == kRestOfLength;
  return (binary && !safetensors) || head.starts_with(kMagicLine);
}

bool LooksLikeTar(std::string_view head) {
  if (head.size() < 262 || head.substr(257, 5) != "ustar") return false;
  const std::string_view name = head.substr(0, head.find('\0'));
  for (const std::string_view part : {"sys_info", "pickle", "storages", "tensors"}) {
    if (name == part || (name.starts_with("./") && name.substr(2) == part)) return true;
  }
  return false;
}

LegacyFile ReadLegacy(const File& file, Heap& heap, bool allow_opaque) {
  PickleInput input([&](uint64_t offset, std::span<uint8_t> out) { file.ReadAt(offset, out); },
                    file.size(), {file.path(), 0, {}});
  const auto header = [&] { return Machine(input, heap, {.storages = false}).Run(); };
  const Value magic = header();
  if (magic.kind != Kind::kBigInt || heap.Text(magic) != kMagic) {
    throw Error(ErrorCode::kBadMagic, {file.path(), 0, {}},
                "a pickle, but not one that torch.save wrote; save the model with torch.save or as "
                "safetensors");
  }
  const Value version = header();
  if (version.kind != Kind::kInt || version.Int() != kProtocolVersion) {
    throw Error(
        ErrorCode::kBadVersion, {file.path(), {}, "protocol version"},
        fmt::format("only version {} of the legacy format exists; {}", kProtocolVersion, kDamaged));
  }
  header();  // about the system
  LegacyFile legacy;
  legacy.root = Machine(input, heap, {.allow_opaque = allow_opaque}).Run();
  const std::vector<Value> keys = StorageKeys(heap, header());
  legacy.storage_offsets = FindStorages(file, input.position(), heap, keys);
  return legacy;
}

}  // namespace quern::formats::torch
