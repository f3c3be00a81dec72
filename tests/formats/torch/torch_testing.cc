#include "tests/formats/torch/torch_testing.h"

namespace quern::testing::pickle {
namespace {

std::string Join(const std::vector<std::string>& items) {
  std::string all;
  for (const auto& item : items) all += item;
  return all;
}

}  // namespace

std::string Str(std::string_view text) { return "X" + Le(text.size(), 4) + std::string(text); }

std::string Int(int64_t value) {
  if (value == static_cast<int32_t>(value)) return "J" + Le(static_cast<uint64_t>(value), 4);
  return "\x8a\x08" + Le(static_cast<uint64_t>(value), 8);
}

std::string Global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}

std::string Tuple(const std::vector<std::string>& items) { return "(" + Join(items) + "t"; }

std::string List(const std::vector<std::string>& items) { return "](" + Join(items) + "e"; }

std::string Dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [key, value] : items) all += key + value;
  return all + "u";
}

std::string Call(const std::string& callee, const std::vector<std::string>& arguments) {
  return callee + Tuple(arguments) + "R";
}

std::string Ints(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(Int(value));
  return Tuple(items);
}

std::string Storage(std::string_view type, std::string_view key, int64_t elements,
                    const std::string& view) {
  return "(" + Str("storage") + Global("torch", type) + Str(key) + Str("cpu") + Int(elements) +
         view + "tQ";
}

std::string Tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& strides) {
  return Call(Global("torch._utils", "_rebuild_tensor_v2"),
              {storage, Int(offset), Ints(shape), Ints(strides), "\x89",
               Call(Global("collections", "OrderedDict"), {})});
}

std::string OneTensor(const std::string& tensor) { return Dict({{Str("t"), tensor}}); }

std::string Whole(const std::string& body, int protocol) {
  return "\x80" + Le(static_cast<uint64_t>(protocol), 1) + body + ".";
}

}  // namespace quern::testing::pickle

namespace quern::testing {

ZipFile TorchZip(const std::string& pickle, const Storages& storages, bool big_endian) {
  ZipFile zip;
  zip.members = {{.name = "archive/data.pkl", .data = pickle::Whole(pickle), .descriptor = true},
                 {.name = "archive/byteorder", .data = big_endian ? "big" : "little"}};
  for (const auto& [key, bytes] : storages) {
    zip.members.push_back({.name = "archive/data/" + key, .data = bytes});
  }
  zip.members.push_back({.name = "archive/version", .data = "3\n"});
  return zip;
}

std::string TorchLegacy(const std::string& pickle, const Storages& storages,
                        uint64_t element_bytes) {
  const std::string magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  std::vector<std::string> keys;
  std::string data;
  for (const auto& [key, bytes] : storages) {
    keys.push_back(pickle::Str(key));
    data += Le(bytes.size() / element_bytes, 8) + bytes;
  }
  return pickle::Whole("\x8a\x0a" + magic) + pickle::Whole(pickle::Int(1001)) +
         pickle::Whole(pickle::Dict({{pickle::Str("little_endian"), "\x88"}})) +
         pickle::Whole(pickle) + pickle::Whole(pickle::List(keys)) + data;
}

}  // namespace quern::testing
