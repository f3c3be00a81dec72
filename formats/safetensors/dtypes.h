// The names of types as safetensors spells them. Missing on purpose: F4, F6_*, F8_E8M0 and the FNUZ
// types, which no converter of ours can use.
#ifndef QUERN_FORMATS_SAFETENSORS_DTYPES_H_
#define QUERN_FORMATS_SAFETENSORS_DTYPES_H_

#include <array>
#include <string_view>
#include <utility>

#include "formats/core/tensor_type.h"

namespace quern::formats::safetensors {

inline constexpr std::array kDtypes = {
    std::pair{std::string_view("BOOL"), TensorType::kBool},
    std::pair{std::string_view("U8"), TensorType::kU8},
    std::pair{std::string_view("I8"), TensorType::kI8},
    std::pair{std::string_view("F8_E5M2"), TensorType::kF8E5M2},
    std::pair{std::string_view("F8_E4M3"), TensorType::kF8E4M3},
    std::pair{std::string_view("I16"), TensorType::kI16},
    std::pair{std::string_view("U16"), TensorType::kU16},
    std::pair{std::string_view("F16"), TensorType::kF16},
    std::pair{std::string_view("BF16"), TensorType::kBF16},
    std::pair{std::string_view("I32"), TensorType::kI32},
    std::pair{std::string_view("U32"), TensorType::kU32},
    std::pair{std::string_view("F32"), TensorType::kF32},
    std::pair{std::string_view("C64"), TensorType::kC64},
    std::pair{std::string_view("F64"), TensorType::kF64},
    std::pair{std::string_view("I64"), TensorType::kI64},
    std::pair{std::string_view("U64"), TensorType::kU64},
};

}  // namespace quern::formats::safetensors

#endif  // QUERN_FORMATS_SAFETENSORS_DTYPES_H_
