#include "tests/support/families.h"

#include <cstdlib>

#include "tests/support/fixtures.h"

namespace quern::testing {

namespace fs = std::filesystem;

const std::vector<std::string>& FamilyNames() {
  static const std::vector<std::string> kNames = {"llama2", "llama31", "smollm2", "mixtral",
                                                  "qwen3",  "pythia",  "phi2",    "gpt2"};
  return kNames;
}

std::optional<fs::path> FamilyFolder(const std::string& name) {
  const char* folder = std::getenv("QUERN_FAMILIES");
  const fs::path families = folder ? fs::path(folder) : fs::path(QUERN_BINARY_DIR) / "families";
  if (fs::exists(families / name / "config.json")) return families / name;
  const auto script = Shared("conformance/families.py");
  const auto tokenizers = Shared("fixtures/tokenizers");
  if (!script || !tokenizers) return std::nullopt;
  // Made beside its place and renamed: tests run in parallel. Debian's Python has numpy.
  const TempFolder made;
  const std::string command = "/usr/bin/python3 '" + script->string() + "' '" +
                              made.path().string() + "' '" + tokenizers->string() + "' " + name +
                              " > /dev/null 2>&1";
  if (std::system(command.c_str()) != 0) return std::nullopt;
  fs::create_directories(families);
  const fs::path staged = families / (name + "." + made.path().filename().string());
  std::error_code error;
  fs::copy(made.path() / name, staged, fs::copy_options::recursive);
  fs::rename(staged, families / name, error);
  if (error) fs::remove_all(staged);  // another test was faster
  return families / name;
}

}  // namespace quern::testing
