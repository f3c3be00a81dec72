#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "quant/recipe.h"

namespace quern::quant {
namespace {

using T = TensorType;

// Names, ids and order: llama-quantize's table of types. Bits per weight are those of the base
// type, from its block geometry.
constexpr std::array kFileTypes = {
    FileType{"Q1_0", 40, T::kQ1_0, "1.125 bits per weight, blocks of 128"},
    FileType{"Q2_0", 41, T::kQ2_0, "2.25 bits per weight, blocks of 64"},
    FileType{"Q4_0", 2, T::kQ4_0, "4.5 bits per weight, blocks of 32"},
    FileType{"Q4_1", 3, T::kQ4_1, "5 bits per weight, blocks of 32 with a minimum"},
    FileType{"MXFP4_MOE", 38, T::kMXFP4, "4.25 bits per weight for experts, Q8_0 for the rest"},
    FileType{"Q5_0", 8, T::kQ5_0, "5.5 bits per weight, blocks of 32"},
    FileType{"Q5_1", 9, T::kQ5_1, "6 bits per weight, blocks of 32 with a minimum"},
    FileType{"IQ2_XXS", 19, T::kIQ2_XXS, "2.06 bits per weight, needs an importance matrix"},
    FileType{"IQ2_XS", 20, T::kIQ2_XS, "2.31 bits per weight, needs an importance matrix"},
    FileType{"IQ2_S", 28, T::kIQ2_XS, "2.31 bits per weight and IQ3_S, needs an importance matrix"},
    FileType{"IQ2_M", 29, T::kIQ2_S, "2.56 bits per weight and IQ3_S, needs an importance matrix"},
    FileType{"IQ1_S", 24, T::kIQ1_S, "1.56 bits per weight, needs an importance matrix"},
    FileType{"IQ1_M", 31, T::kIQ1_M, "1.75 bits per weight, needs an importance matrix"},
    FileType{"TQ1_0", 36, T::kTQ1_0, "1.69 bits per weight, for ternary models"},
    FileType{"TQ2_0", 37, T::kTQ2_0, "2.06 bits per weight, for ternary models"},
    FileType{"Q2_K", 10, T::kQ2_K, "2.63 bits per weight, more for sensitive tensors"},
    FileType{"Q2_K_S", 21, T::kQ2_K, "2.63 bits per weight, needs an importance matrix"},
    FileType{"IQ3_XXS", 23, T::kIQ3_XXS, "3.06 bits per weight, needs an importance matrix"},
    FileType{"IQ3_S", 26, T::kIQ3_S, "3.44 bits per weight"},
    FileType{"IQ3_M", 27, T::kIQ3_S, "3.44 bits per weight, more for sensitive tensors"},
    FileType{"IQ3_XS", 22, T::kIQ3_S, "3.44 and 3.06 bits per weight, needs an importance matrix"},
    FileType{"Q3_K_S", 11, T::kQ3_K, "3.44 bits per weight"},
    FileType{"Q3_K_M", 12, T::kQ3_K, "3.44 bits per weight, more for sensitive tensors"},
    FileType{"Q3_K_L", 13, T::kQ3_K, "3.44 bits per weight, most for sensitive tensors"},
    FileType{"IQ4_NL", 25, T::kIQ4_NL, "4.5 bits per weight, non-linear, blocks of 32"},
    FileType{"IQ4_XS", 30, T::kIQ4_XS, "4.25 bits per weight, non-linear"},
    FileType{"Q4_K_S", 14, T::kQ4_K, "4.5 bits per weight, some more for first layers"},
    FileType{"Q4_K_M", 15, T::kQ4_K, "4.5 bits per weight, more for sensitive tensors"},
    FileType{"Q5_K_S", 16, T::kQ5_K, "5.5 bits per weight"},
    FileType{"Q5_K_M", 17, T::kQ5_K, "5.5 bits per weight, more for sensitive tensors"},
    FileType{"Q6_K", 18, T::kQ6_K, "6.56 bits per weight"},
    FileType{"Q8_0", 7, T::kQ8_0, "8.5 bits per weight, nearly lossless"},
    FileType{"F16", 1, T::kF16, "16 bits per weight, half precision"},
    FileType{"BF16", 32, T::kBF16, "16 bits per weight, the range of F32"},
    FileType{"F32", 0, T::kF32, "32 bits per weight, lossless"},
    // After F32, so that id 0 finds F32.
    FileType{"COPY", 0, T::kF32, "tensors as they are", true},
};

constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kAliases = {
    {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}}};

std::string UpperCase(std::string_view text) {
  std::string upper(text);
  // ASCII only: the result must not depend on the locale.
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

}  // namespace

std::span<const FileType> FileTypes() { return kFileTypes; }

const FileType* FindFileType(std::string_view name) {
  std::string wanted = UpperCase(name);
  for (const auto& [alias, target] : kAliases) {
    if (wanted == alias) wanted = target;
  }
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), id);
  const bool is_id = error == std::errc() && end == wanted.data() + wanted.size();
  const auto found = std::find_if(kFileTypes.begin(), kFileTypes.end(), [&](const FileType& type) {
    return is_id ? type.id == id : type.name == wanted;
  });
  return found == kFileTypes.end() ? nullptr : &*found;
}

}  // namespace quern::quant
