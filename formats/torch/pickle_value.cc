#include "formats/torch/pickle_value.h"

#include <fmt/format.h>

namespace quern::formats::torch {
namespace {

// What an entry costs beyond its own size: an arena's slack and the allocator's header.
constexpr uint64_t kSlack = 16;

}  // namespace

void Heap::Charge(uint64_t bytes) {
  used_ += bytes;
  if (used_ <= budget_) return;
  throw Error(ErrorCode::kLimitExceeded, {file_, {}, "pickle"},
              fmt::format("it unfolds into more than {} bytes of objects, far more than a file of "
                          "this size should; do not use it",
                          budget_));
}

Value Heap::AddText(Kind kind, std::string text) {
  Charge(sizeof(std::string) + kSlack + (text.size() > 15 ? text.size() + kSlack : 0));
  texts_.push_back(std::move(text));
  return {kind, texts_.size() - 1};
}

std::string_view Heap::Text(Value value) const {
  return HasText(value) ? std::string_view(texts_[value.bits]) : std::string_view();
}

Value Heap::AddContainer(Kind kind) {
  Charge(sizeof(std::vector<Value>) + kSlack);
  containers_.emplace_back();
  return {kind, containers_.size() - 1};
}

void Heap::Append(Value container, Value item) {
  Charge(2 * sizeof(Value));  // a vector grows by doubling
  containers_[container.bits].push_back(item);
}

Value Heap::AddGlobal(Global global) {
  Charge(sizeof(Global) + kSlack + global.name.size());
  globals_.push_back(std::move(global));
  return {Kind::kGlobal, globals_.size() - 1};
}

Value Heap::AddStorage(StorageView view) {
  Charge(sizeof(view) + kSlack);
  views_.push_back(view);
  return {Kind::kStorage, views_.size() - 1};
}

Value Heap::AddTensor(Tensor tensor) {
  Charge(sizeof(Tensor) + kSlack + 2 * sizeof(uint64_t) * tensor.shape.size());
  tensors_.push_back(std::move(tensor));
  return {Kind::kTensor, tensors_.size() - 1};
}

Value Heap::AddObject(Object object) {
  Charge(sizeof(Object) + kSlack);
  objects_.push_back(object);
  return {Kind::kObject, objects_.size() - 1};
}

uint32_t Heap::InternStorage(const Storage& storage, const Where& where) {
  const auto [at, added] =
      storage_by_key_.emplace(storage.key, static_cast<uint32_t>(storages_.size()));
  if (added) {
    Charge(2 * sizeof(Storage) + 4 * kSlack + 2 * storage.key.size());
    storages_.push_back(storage);
    return at->second;
  }
  const Storage& known = storages_[at->second];
  if (known.type_name != storage.type_name || known.elements != storage.elements) {
    throw Error(
        ErrorCode::kMismatch, where,
        fmt::format("storage {} is {} x {} here and was {} x {} before; the file is damaged "
                    "or made to mislead",
                    Printable(storage.key), storage.elements, storage.type_name, known.elements,
                    known.type_name));
  }
  return at->second;
}

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "an integer";
    case Kind::kFloat:
      return "a float";
    case Kind::kString:
      return "a string";
    case Kind::kBytes:
      return "bytes";
    case Kind::kList:
      return "a list";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kSet:
      return "a set";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "a class or function";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
    case Kind::kObject:
      return "an object";
    case Kind::kInert:
      return "other data";
  }
  return "unknown";
}

}  // namespace quern::formats::torch
