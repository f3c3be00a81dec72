#include "formats/torch/pickle_globals.h"

#include <algorithm>
#include <array>
#include <vector>

namespace quern::formats::torch {
namespace {

using M = Meaning;
using T = TensorType;

constexpr std::string_view kComplex = "a complex tensor";
constexpr std::string_view kQuantized = "a quantized tensor";
constexpr std::string_view kFloat8 = "a float8 tensor of a variant that quern does not know";

constexpr std::array kGlobals = {
    // Python's own data. Protocols 0 to 2 use the module names of Python 2.
    AllowedGlobal{"collections", "OrderedDict", M::kDict},
    AllowedGlobal{"collections", "Counter", M::kDict},
    AllowedGlobal{"collections", "defaultdict", M::kDefaultDict},
    AllowedGlobal{"_codecs", "encode", M::kEncode},
    AllowedGlobal{"copy_reg", "_reconstructor", M::kReconstruct},
    AllowedGlobal{"copyreg", "_reconstructor", M::kReconstruct},
    AllowedGlobal{"builtins", "dict", M::kDict},
    AllowedGlobal{"builtins", "list", M::kList},
    AllowedGlobal{"builtins", "tuple", M::kTuple},
    AllowedGlobal{"builtins", "set", M::kSet},
    AllowedGlobal{"builtins", "frozenset", M::kSet},
    AllowedGlobal{"builtins", "int", M::kInert},
    AllowedGlobal{"builtins", "float", M::kInert},
    AllowedGlobal{"builtins", "bool", M::kInert},
    AllowedGlobal{"builtins", "str", M::kInert},
    AllowedGlobal{"builtins", "bytes", M::kInert},
    AllowedGlobal{"builtins", "bytearray", M::kInert},
    AllowedGlobal{"builtins", "complex", M::kInert},
    AllowedGlobal{"builtins", "slice", M::kInert},
    AllowedGlobal{"builtins", "object", M::kInert},
    // numpy scalars and arrays; numpy 2 renamed numpy.core
    AllowedGlobal{"numpy", "ndarray", M::kInert},
    AllowedGlobal{"numpy", "dtype", M::kInert},
    AllowedGlobal{"numpy.core.multiarray", "_reconstruct", M::kInert},
    AllowedGlobal{"numpy.core.multiarray", "scalar", M::kInert},
    AllowedGlobal{"numpy.core.numeric", "_frombuffer", M::kInert},
    AllowedGlobal{"numpy._core.multiarray", "_reconstruct", M::kInert},
    AllowedGlobal{"numpy._core.multiarray", "scalar", M::kInert},
    AllowedGlobal{"numpy._core.numeric", "_frombuffer", M::kInert},
    // tensors
    AllowedGlobal{"torch._utils", "_rebuild_tensor", M::kTensor},
    AllowedGlobal{"torch._utils", "_rebuild_tensor_v2", M::kTensorV2},
    AllowedGlobal{"torch._utils", "_rebuild_tensor_v3", M::kTensorV3},
    AllowedGlobal{"torch._utils", "_rebuild_parameter", M::kParameter},
    AllowedGlobal{"torch._utils", "_rebuild_parameter_with_state", M::kParameter},
    AllowedGlobal{"torch._tensor", "_rebuild_from_type_v2", M::kTensorFromType},
    AllowedGlobal{"torch._tensor", "_rebuild_from_type", M::kTensorFromType},
    AllowedGlobal{"torch._utils", "_rebuild_qtensor", M::kQuantizedTensor},
    AllowedGlobal{"torch._utils", "_rebuild_sparse_tensor", M::kSparseTensor},
    AllowedGlobal{"torch._utils", "_rebuild_sparse_csr_tensor", M::kSparseTensor},
    AllowedGlobal{"torch._utils", "_rebuild_meta_tensor_no_storage", M::kForeignTensor},
    AllowedGlobal{"torch._utils", "_rebuild_device_tensor_from_numpy", M::kForeignTensor},
    AllowedGlobal{"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", M::kForeignTensor},
    AllowedGlobal{"torch._utils", "_rebuild_xla_tensor", M::kForeignTensor},
    AllowedGlobal{"torch._utils", "_rebuild_nested_tensor", M::kForeignTensor},
    AllowedGlobal{"torch._utils", "_rebuild_wrapper_subclass", M::kForeignTensor},
    AllowedGlobal{"torch", "Size", M::kTuple},
    AllowedGlobal{"torch", "device", M::kInert},
    AllowedGlobal{"torch", "Tensor", M::kInert},
    AllowedGlobal{"torch.nn.parameter", "Parameter", M::kInert},
    AllowedGlobal{"torch.nn.parameter", "Buffer", M::kInert},
    AllowedGlobal{"torch.serialization", "_get_layout", M::kInert},
    AllowedGlobal{"torch", "per_tensor_affine", M::kInert},
    AllowedGlobal{"torch", "per_channel_affine", M::kInert},
    // storages; "torch.cuda" is read as "torch"
    AllowedGlobal{"torch", "FloatStorage", M::kStorage, {T::kF32, 4}},
    AllowedGlobal{"torch", "DoubleStorage", M::kStorage, {T::kF64, 8}},
    AllowedGlobal{"torch", "HalfStorage", M::kStorage, {T::kF16, 2}},
    AllowedGlobal{"torch", "BFloat16Storage", M::kStorage, {T::kBF16, 2}},
    AllowedGlobal{"torch", "LongStorage", M::kStorage, {T::kI64, 8}},
    AllowedGlobal{"torch", "IntStorage", M::kStorage, {T::kI32, 4}},
    AllowedGlobal{"torch", "ShortStorage", M::kStorage, {T::kI16, 2}},
    AllowedGlobal{"torch", "CharStorage", M::kStorage, {T::kI8, 1}},
    AllowedGlobal{"torch", "ByteStorage", M::kStorage, {T::kU8, 1}},
    AllowedGlobal{"torch", "BoolStorage", M::kStorage, {T::kBool, 1}},
    AllowedGlobal{"torch", "ComplexFloatStorage", M::kStorage, {{}, 8, kComplex}},
    AllowedGlobal{"torch", "ComplexDoubleStorage", M::kStorage, {{}, 16, kComplex}},
    AllowedGlobal{"torch", "QInt8Storage", M::kStorage, {{}, 1, kQuantized}},
    AllowedGlobal{"torch", "QUInt8Storage", M::kStorage, {{}, 1, kQuantized}},
    AllowedGlobal{"torch", "QInt32Storage", M::kStorage, {{}, 4, kQuantized}},
    AllowedGlobal{"torch", "QUInt4x2Storage", M::kStorage, {{}, 1, kQuantized}},
    AllowedGlobal{"torch", "QUInt2x4Storage", M::kStorage, {{}, 1, kQuantized}},
    AllowedGlobal{"torch", "UntypedStorage", M::kStorage, {T::kU8, 1}},
    AllowedGlobal{"torch.storage", "UntypedStorage", M::kStorage, {T::kU8, 1}},
    AllowedGlobal{"torch.storage", "_UntypedStorage", M::kStorage, {T::kU8, 1}},
    // dtypes
    AllowedGlobal{"torch", "float32", M::kDtype, {T::kF32, 4}},
    AllowedGlobal{"torch", "float64", M::kDtype, {T::kF64, 8}},
    AllowedGlobal{"torch", "float16", M::kDtype, {T::kF16, 2}},
    AllowedGlobal{"torch", "bfloat16", M::kDtype, {T::kBF16, 2}},
    AllowedGlobal{"torch", "float8_e4m3fn", M::kDtype, {T::kF8E4M3, 1}},
    AllowedGlobal{"torch", "float8_e5m2", M::kDtype, {T::kF8E5M2, 1}},
    AllowedGlobal{"torch", "float8_e4m3fnuz", M::kDtype, {{}, 1, kFloat8}},
    AllowedGlobal{"torch", "float8_e5m2fnuz", M::kDtype, {{}, 1, kFloat8}},
    AllowedGlobal{"torch", "float8_e8m0fnu", M::kDtype, {{}, 1, kFloat8}},
    AllowedGlobal{"torch", "int64", M::kDtype, {T::kI64, 8}},
    AllowedGlobal{"torch", "int32", M::kDtype, {T::kI32, 4}},
    AllowedGlobal{"torch", "int16", M::kDtype, {T::kI16, 2}},
    AllowedGlobal{"torch", "int8", M::kDtype, {T::kI8, 1}},
    AllowedGlobal{"torch", "uint8", M::kDtype, {T::kU8, 1}},
    AllowedGlobal{"torch", "uint16", M::kDtype, {T::kU16, 2}},
    AllowedGlobal{"torch", "uint32", M::kDtype, {T::kU32, 4}},
    AllowedGlobal{"torch", "uint64", M::kDtype, {T::kU64, 8}},
    AllowedGlobal{"torch", "bool", M::kDtype, {T::kBool, 1}},
    AllowedGlobal{"torch", "complex32", M::kDtype, {{}, 4, kComplex}},
    AllowedGlobal{"torch", "complex64", M::kDtype, {{}, 8, kComplex}},
    AllowedGlobal{"torch", "complex128", M::kDtype, {{}, 16, kComplex}},
    AllowedGlobal{"torch", "qint8", M::kDtype, {{}, 1, kQuantized}},
    AllowedGlobal{"torch", "quint8", M::kDtype, {{}, 1, kQuantized}},
    AllowedGlobal{"torch", "qint32", M::kDtype, {{}, 4, kQuantized}},
};

constexpr AllowedGlobal kAnyModule{"torch.nn.modules", "*", M::kModule};

bool IsIdentifier(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

}  // namespace

const AllowedGlobal* FindAllowedGlobal(std::string_view module, std::string_view name) {
  if (module == "__builtin__") module = "builtins";
  if (module == "torch.cuda" && name.ends_with("Storage")) module = "torch";
  for (const auto& global : kGlobals) {
    if (global.module == module && global.name == name) return &global;
  }
  constexpr std::string_view kModules = "torch.nn.modules.";
  // A class of one of its files: torch.nn.modules.linear Linear. Nothing below or inside a class.
  if (module.starts_with(kModules) && IsIdentifier(module.substr(kModules.size())) &&
      IsIdentifier(name)) {
    return &kAnyModule;
  }
  return nullptr;
}

bool IsUntyped(const AllowedGlobal& storage) {
  return storage.name == "UntypedStorage" || storage.name == "_UntypedStorage";
}

}  // namespace quern::formats::torch
