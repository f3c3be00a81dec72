// The classes and functions that a PyTorch pickle may name, and what each of them means to a reader
// that runs nothing: the allow-list. Everything that is not in this table is refused by name.
#ifndef QUERN_FORMATS_TORCH_PICKLE_GLOBALS_H_
#define QUERN_FORMATS_TORCH_PICKLE_GLOBALS_H_

#include <optional>
#include <string_view>

#include "formats/core/tensor_type.h"

namespace quern::formats::torch {

// What "calling" a global (REDUCE, NEWOBJ, OBJ, INST) makes. No code runs for any of them: each is
// a way to put the arguments into a container.
enum class Meaning {
  kDict,             // (), (pairs) or (dict)
  kDefaultDict,      // (), (factory) or (factory, dict)
  kList,             // () or (items)
  kTuple,            // () or (items); torch.Size
  kSet,              // () or (items)
  kEncode,           // _codecs.encode(text, "latin1"): how protocol 2 writes bytes
  kInert,            // anything; the result is looked at by nobody
  kReconstruct,      // copyreg._reconstructor(class, base, state)
  kModule,           // a torch.nn module, seen through its state
  kParameter,        // _rebuild_parameter(tensor, ...)
  kTensor,           // _rebuild_tensor(storage, offset, shape, strides)
  kTensorV2,         // the same and requires_grad, hooks[, metadata]
  kTensorV3,         // the same with a dtype after the hooks (untyped storages)
  kTensorFromType,   // _rebuild_from_type_v2(function, type, arguments, state)
  kQuantizedTensor,  // refused when a tensor of it is asked for, as are the next two
  kSparseTensor,
  kForeignTensor,  // no storage in the file: meta, numpy-backed, nested, wrapper subclasses
  kStorage,        // a storage class; cannot be called
  kDtype,          // a dtype; cannot be called
};

// The elements of a storage or dtype. Without a tensor type it cannot be read, `refusal` says why.
struct StorageType {
  std::optional<TensorType> tensor_type;
  uint32_t element_bytes = 1;
  std::string_view refusal;
};

struct AllowedGlobal {
  std::string_view module;
  std::string_view name;
  Meaning meaning;
  StorageType type = {};  // of kStorage and kDtype
};

// Absent: not allowed. torch.nn.modules.* is allowed as a whole, as kModule.
const AllowedGlobal* FindAllowedGlobal(std::string_view module, std::string_view name);

// The storage class whose size counts bytes.
bool IsUntyped(const AllowedGlobal& storage);

}  // namespace quern::formats::torch

#endif  // QUERN_FORMATS_TORCH_PICKLE_GLOBALS_H_
