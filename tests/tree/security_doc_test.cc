// docs/security.md speaks of constants and fuzz targets; this keeps it true.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

namespace quern {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = QUERN_SOURCE_DIR;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(SecurityDoc, NamesLimitsAsTheCodeHasThem) {
  const std::string doc = Read(kRoot / "docs/security.md");
  const std::regex row(R"(\n\| `([^`]+)` \| `(\w+ = [^`]+)` \|)");
  size_t rows = 0;
  for (std::sregex_iterator at(doc.begin(), doc.end(), row), end; at != end; ++at, ++rows) {
    const std::string code = Read(kRoot / (*at)[1].str());
    EXPECT_NE(code.find((*at)[2].str() + ";"), std::string::npos)
        << (*at)[1] << " has no `" << (*at)[2] << "`";
  }
  EXPECT_GE(rows, 30u);
}

TEST(SecurityDoc, EveryFuzzTargetIsListedAndHasSeeds) {
  const std::string doc = Read(kRoot / "docs/security.md");
  for (const auto& entry : fs::directory_iterator(kRoot / "tests/fuzz")) {
    const std::string name = entry.path().stem().string();
    if (!name.starts_with("fuzz_") || entry.path().extension() != ".cc") continue;
    EXPECT_NE(doc.find("`" + name + "`"), std::string::npos) << name;
    const fs::path seeds = kRoot / "tests/fuzz/seeds" / name;
    EXPECT_TRUE(fs::is_directory(seeds) && !fs::is_empty(seeds)) << name;
  }
}

}  // namespace
}  // namespace quern
