// Includes go one way: cli -> verify -> converters -> quant -> formats.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

namespace quern {
namespace {

namespace fs = std::filesystem;

constexpr std::array kRooms = {"formats", "quant", "converters", "verify", "cli"};

size_t Level(const std::string& room) {
  return static_cast<size_t>(std::find(kRooms.begin(), kRooms.end(), room) - kRooms.begin());
}

bool IsSource(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cc";
}

TEST(Tree, ARoomIncludesOnlyItselfAndLowerRooms) {
  const std::regex include("^\\s*#\\s*include\\s+\"([^\"/]+)/");
  size_t checked = 0;
  for (const std::string room : kRooms) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(QUERN_SOURCE_DIR) / room)) {
      if (!IsSource(entry.path())) continue;
      std::ifstream file(entry.path());
      std::smatch match;
      for (std::string line; std::getline(file, line);) {
        if (!std::regex_search(line, match, include)) continue;
        const size_t included = Level(match[1]);
        if (included == kRooms.size()) continue;  // third party
        EXPECT_LE(included, Level(room)) << entry.path() << ": " << line;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 100u);
}

TEST(Tree, OnlyTheCommandLinePrintsOrExits) {
  const std::regex print("\\b(printf|fputs|puts|exit|abort)\\s*\\(|std::(cout|cerr)|fmt::print");
  for (const std::string room : kRooms) {
    if (room == "cli") continue;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(QUERN_SOURCE_DIR) / room)) {
      if (!IsSource(entry.path())) continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        const std::string code = line.substr(0, line.find("//"));
        EXPECT_FALSE(std::regex_search(code, print)) << entry.path() << ": " << line;
      }
    }
  }
}

}  // namespace
}  // namespace quern
