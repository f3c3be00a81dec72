// What a pickle builds: plain data in arenas, flat, without a single pointer between Python-like
// objects. Nothing here has behaviour of its own, and nothing is freed before the whole heap is.
//
// The heap is charged for everything that it keeps and refuses (kLimitExceeded) beyond a budget
// that its owner derives from the size of the file, so that no pickle can make it larger.
#ifndef QUERN_FORMATS_TORCH_PICKLE_VALUE_H_
#define QUERN_FORMATS_TORCH_PICKLE_VALUE_H_

#include <bit>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/model.h"
#include "formats/torch/pickle_globals.h"

namespace quern::formats::torch {

enum class Kind : uint8_t {
  kNone,
  kBool,     // bits: 0, 1
  kInt,      // bits: int64_t
  kBigInt,   // text: little-endian two's complement
  kFloat,    // bits: double
  kString,   // text: UTF-8
  kBytes,    // text
  kList,     // items
  kTuple,    // items
  kSet,      // items
  kDict,     // items: key, value, key, value, ...
  kGlobal,   // index of globals
  kStorage,  // index of storages
  kTensor,   // index of tensors
  kObject,   // index of objects
  kInert,    // data that matters to nobody here: a device, a dtype, a numpy array
};

struct Value {
  Kind kind = Kind::kNone;
  uint64_t bits = 0;  // a number, or an index into the heap

  int64_t Int() const { return static_cast<int64_t>(bits); }
  double Float() const { return std::bit_cast<double>(bits); }
};

// A class or function that the pickle names.
struct Global {
  std::string name;                        // "torch._utils._rebuild_tensor_v2"
  const AllowedGlobal* allowed = nullptr;  // null: unknown, kept because the user asked for it
};

// The bytes behind tensors. Several tensors, and several views, share one.
struct Storage {
  std::string key;  // names the member or record that holds the bytes
  std::string_view type_name;
  StorageType type;
  uint64_t elements = 0;
};

// A part of a storage (only the legacy format has true parts).
struct StorageView {
  uint32_t storage = 0;
  uint64_t first = 0;
  uint64_t elements = 0;
};

struct Tensor {
  StorageView view;
  StorageType type;
  uint64_t offset = 0;  // elements, from the first of the whole storage
  Shape shape;
  std::vector<uint64_t> strides;  // elements
  std::string_view refusal;       // not empty: why this tensor cannot be read
};

struct Object {
  uint32_t global = 0;
  Value state;
};

class Heap {
 public:
  // `file` is named in errors.
  Heap(std::string file, uint64_t budget) : file_(std::move(file)), budget_(budget) {}

  // Accounts for `bytes` of memory; throws kLimitExceeded when the budget is used up.
  void Charge(uint64_t bytes);

  Value AddText(Kind kind, std::string text);
  // Text so long that it is nobody's name: its length is kept, its content is not.
  Value AddLongText(Kind kind) { return {kind, kNotKept}; }
  bool HasText(Value value) const { return value.bits != kNotKept; }
  std::string_view Text(Value value) const;

  Value AddContainer(Kind kind);
  void Append(Value container, Value item);
  const std::vector<Value>& Items(Value container) const { return containers_[container.bits]; }

  Value AddGlobal(Global global);
  Value AddStorage(StorageView view);
  Value AddTensor(Tensor tensor);
  Value AddObject(Object object);
  const Global& GlobalOf(Value value) const { return globals_[value.bits]; }
  const StorageView& StorageOf(Value value) const { return views_[value.bits]; }
  const Tensor& TensorOf(Value value) const { return tensors_[value.bits]; }
  const Object& ObjectOf(Value value) const { return objects_[value.bits]; }
  Object& ObjectOf(Value value) { return objects_[value.bits]; }

  // The whole storages, in the order in which the pickle first names them.
  const std::vector<Storage>& storages() const { return storages_; }
  // Index of the storage with this key; registers it. Throws kMismatch where the key is known with
  // another type or size.
  uint32_t InternStorage(const Storage& storage, const Where& where);

  const std::string& file() const { return file_; }

 private:
  static constexpr uint64_t kNotKept = ~uint64_t{0};

  std::string file_;
  uint64_t budget_;
  uint64_t used_ = 0;
  std::deque<std::string> texts_;
  std::deque<std::vector<Value>> containers_;
  std::deque<Global> globals_;
  std::deque<StorageView> views_;
  std::deque<Tensor> tensors_;
  std::deque<Object> objects_;
  std::vector<Storage> storages_;
  std::unordered_map<std::string, uint32_t> storage_by_key_;
};

// "a dict", "an integer": for messages.
std::string_view KindName(Kind kind);

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_PICKLE_VALUE_H_
