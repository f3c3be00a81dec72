// Storages and tensors: every number in them is checked against what it must fit into.
#include <fmt/format.h>

#include <algorithm>

#include "formats/core/checked_math.h"
#include "formats/torch/pickle_machine.h"

namespace quern::formats::torch {
namespace {

constexpr std::string_view kDamaged = "the pickle is damaged or made to mislead";
constexpr size_t kMaxDimensions = 64;  // PyTorch's own limit
// By how much a tensor may be larger than the storage that it repeats (stride 0). A few bytes must
// not become a tensor of terabytes.
constexpr uint64_t kMaxRepeatedBytes = uint64_t{256} << 20;

}  // namespace

uint64_t Machine::Size(Value value, std::string_view field) const {
  RequireKind(value, Kind::kInt, field);
  if (value.Int() < 0) {
    throw Fail(ErrorCode::kBadValue, fmt::format("{} is {}; {}", field, value.Int(), kDamaged));
  }
  return value.bits;
}

std::vector<uint64_t> Machine::Sizes(Value value, std::string_view field) const {
  RequireKind(value, Kind::kTuple, field);
  const auto& items = heap_.Items(value);
  if (items.size() > kMaxDimensions) {
    throw Fail(ErrorCode::kBadShape,
               fmt::format("{} dimensions; PyTorch knows up to {}", items.size(), kMaxDimensions));
  }
  std::vector<uint64_t> sizes;
  for (const Value item : items) sizes.push_back(Size(item, field));
  return sizes;
}

// ("storage", class, key, location, elements[, view])
Value Machine::LoadStorage(const std::vector<Value>& id) {
  if (id.size() < 5) {
    throw Fail(ErrorCode::kBadValue, fmt::format("a storage without its size; {}", kDamaged));
  }
  RequireKind(id[1], Kind::kGlobal, "the class of a storage");
  RequireKind(id[2], Kind::kString, "the key of a storage");
  const AllowedGlobal* allowed = heap_.GlobalOf(id[1]).allowed;
  if (!allowed || allowed->meaning != Meaning::kStorage || !heap_.HasText(id[2])) {
    throw Fail(ErrorCode::kBadType, fmt::format("{} is no class of storages; {}",
                                                Printable(heap_.GlobalOf(id[1]).name), kDamaged));
  }
  const std::string key(heap_.Text(id[2]));
  const Storage whole{key, allowed->name, allowed->type, Size(id[4], "the size of a storage")};
  if (!CheckedMul(whole.elements, whole.type.element_bytes)) {
    throw Fail(ErrorCode::kBadShape,
               fmt::format("a storage of {} elements; {}", whole.elements, kDamaged));
  }
  const uint32_t index = heap_.InternStorage(whole, Here());
  return heap_.AddStorage(PartOf(id, index, whole));
}

// The legacy format's view: None, or (key of the view, first element, elements).
StorageView Machine::PartOf(const std::vector<Value>& id, uint32_t storage,
                            const Storage& whole) const {
  if (id.size() < 6 || id[5].kind == Kind::kNone) return {storage, 0, whole.elements};
  RequireKind(id[5], Kind::kTuple, "the view of a storage");
  const auto& view = heap_.Items(id[5]);
  if (view.size() != 3) {
    throw Fail(ErrorCode::kBadValue,
               fmt::format("a view of a storage without a size; {}", kDamaged));
  }
  const uint64_t first = Size(view[1], "the offset of a storage's view");
  const uint64_t elements = Size(view[2], "the size of a storage's view");
  if (first > whole.elements || elements > whole.elements - first) {
    throw Fail(ErrorCode::kOutOfBounds,
               fmt::format("a view of {} elements at {} of a storage of {}; {}", elements, first,
                           whole.elements, kDamaged));
  }
  return {storage, first, elements};
}

// (storage, offset, shape, strides, ...); version 3 has a dtype after two more.
Value Machine::MakeTensor(const std::vector<Value>& arguments, const AllowedGlobal& global) {
  const bool has_dtype = global.meaning == Meaning::kTensorV3;
  if (arguments.size() < (has_dtype ? 7 : 4)) {
    throw Fail(ErrorCode::kBadValue, fmt::format("a tensor without its arguments; {}", kDamaged));
  }
  RequireKind(arguments[0], Kind::kStorage, "the storage of a tensor");
  Tensor tensor;
  tensor.view = heap_.StorageOf(arguments[0]);
  tensor.type = heap_.storages()[tensor.view.storage].type;
  if (has_dtype) {
    RequireKind(arguments[6], Kind::kGlobal, "the dtype of a tensor");
    const AllowedGlobal* dtype = heap_.GlobalOf(arguments[6]).allowed;
    if (!dtype || dtype->meaning != Meaning::kDtype) {
      throw Fail(ErrorCode::kBadType,
                 fmt::format("{} is no dtype; {}", Printable(heap_.GlobalOf(arguments[6]).name),
                             kDamaged));
    }
    tensor.type = dtype->type;
  }
  tensor.offset = Size(arguments[1], "the offset of a tensor");
  tensor.shape = Sizes(arguments[2], "the shape of a tensor");
  tensor.strides = Sizes(arguments[3], "the strides of a tensor");
  if (!tensor.type.tensor_type) tensor.refusal = tensor.type.refusal;
  CheckBounds(tensor);
  // From here on the offset counts from the first element of the whole storage.
  const uint64_t storage_bytes = heap_.storages()[tensor.view.storage].type.element_bytes;
  tensor.offset += tensor.view.first * storage_bytes / tensor.type.element_bytes;
  return heap_.AddTensor(std::move(tensor));
}

void Machine::CheckBounds(const Tensor& tensor) const {
  if (tensor.shape.size() != tensor.strides.size()) {
    throw Fail(ErrorCode::kBadShape,
               fmt::format("a tensor of {} dimensions with {} strides; {}", tensor.shape.size(),
                           tensor.strides.size(), kDamaged));
  }
  const auto elements = CheckedProduct(tensor.shape);
  const auto bytes = elements ? CheckedMul(*elements, tensor.type.element_bytes) : std::nullopt;
  if (!bytes) {
    throw Fail(ErrorCode::kBadShape, fmt::format("a shape whose product overflows; {}", kDamaged));
  }
  // Both were checked when the storage was read: this product does not overflow.
  const uint64_t available =
      tensor.view.elements * heap_.storages()[tensor.view.storage].type.element_bytes;
  auto end = std::optional(tensor.offset);  // one past the last element that is touched
  for (size_t i = 0; *elements > 0 && i < tensor.shape.size() && end; ++i) {
    const auto step = CheckedMul(tensor.shape[i] - 1, tensor.strides[i]);
    end = step ? CheckedAdd(*end, *step) : std::nullopt;
  }
  if (end && *elements > 0) end = CheckedAdd(*end, 1);
  const auto end_bytes = end ? CheckedMul(*end, tensor.type.element_bytes) : std::nullopt;
  if (!end_bytes || *end_bytes > available) {
    throw Fail(ErrorCode::kOutOfBounds,
               fmt::format("a tensor that reaches beyond its storage of {} bytes; {}", available,
                           kDamaged));
  }
  if (*bytes > available && *bytes - available > kMaxRepeatedBytes) {
    throw Fail(ErrorCode::kLimitExceeded,
               fmt::format("a tensor of {} bytes that repeats a storage of {}; save it with "
                           ".contiguous()",
                           *bytes, available));
  }
}

}  // namespace quern::formats::torch
