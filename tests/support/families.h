// Tiny complete Hugging Face folders with real tokenizers (../shared/conformance/families.py), and
// what llama.cpp's converter made of them.
#ifndef QUERN_TESTS_SUPPORT_FAMILIES_H_
#define QUERN_TESTS_SUPPORT_FAMILIES_H_

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quern::testing {

// The eight families with golden conversions.
const std::vector<std::string>& FamilyNames();

// The folder of family `name`, in $QUERN_FAMILIES or else below the build folder; made there if it
// is missing. Absent where ../shared or a Python with numpy is.
std::optional<std::filesystem::path> FamilyFolder(const std::string& name);

}  // namespace quern::testing

#endif  // QUERN_TESTS_SUPPORT_FAMILIES_H_
