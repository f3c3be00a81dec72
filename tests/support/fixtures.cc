#include "tests/support/fixtures.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace quern::testing {
namespace fs = std::filesystem;

fs::path TestData(std::string_view name) { return fs::path(QUERN_SOURCE_DIR) / "testdata" / name; }

std::optional<fs::path> Shared(std::string_view name) {
  const char* set = std::getenv("QUERN_SHARED");
  const fs::path root = set ? fs::path(set) : fs::path(QUERN_SOURCE_DIR).parent_path() / "shared";
  const fs::path path = root / name;
  return fs::exists(path) ? std::optional(path) : std::nullopt;
}

std::optional<fs::path> OracleLibraries() {
  const char* set = std::getenv("QUERN_ORACLE");
  const fs::path path = set ? fs::path(set)
                            : fs::path(QUERN_SOURCE_DIR) /
                                  "build/npm/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64";
  return fs::exists(path / "libggml-base.so") ? std::optional(path) : std::nullopt;
}

TempFolder::TempFolder() {
  std::string pattern = (fs::temp_directory_path() / "quern-test-XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path TempFolder::Write(std::string_view name, std::string_view content) const {
  const fs::path path = path_ / name;
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

fs::path TempFolder::Write(std::string_view name, std::span<const uint8_t> content) const {
  return Write(name,
               std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
}

Error ErrorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "expected quern::Error, got: " << error.what();
    return Error(ErrorCode::kUsage, {}, "another exception was thrown");
  }
  ADD_FAILURE() << "expected quern::Error, nothing was thrown";
  return Error(ErrorCode::kUsage, {}, "nothing was thrown");
}

}  // namespace quern::testing
