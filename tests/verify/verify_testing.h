// What the tests of `quern verify` share: a check of a path, and damage to files.
#ifndef QUERN_TESTS_VERIFY_VERIFY_TESTING_H_
#define QUERN_TESTS_VERIFY_VERIFY_TESTING_H_

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "verify/store_checks.h"

namespace quern::verify {

inline CheckList Checked(const std::filesystem::path& path, const CheckOptions& options = {}) {
  CheckList list;
  CheckAddress(path.string(), options, list);
  list.Run({.threads = 2});
  return list;
}

// "kind file name", of every problem.
inline std::vector<std::string> ProblemsOf(const CheckList& list) {
  std::vector<std::string> problems;
  for (const Problem& problem : list.problems()) {
    problems.push_back(problem.kind + " " +
                       std::filesystem::path(problem.path).filename().string());
  }
  return problems;
}

inline std::vector<std::string> Problems(const std::filesystem::path& path,
                                         const CheckOptions& options = {}) {
  return ProblemsOf(Checked(path, options));
}

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void WriteAll(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline void FlipBit(const std::filesystem::path& path, size_t from_end = 1) {
  std::string content = ReadAll(path);
  content[content.size() - from_end] ^= 0x10;
  WriteAll(path, content);
}

inline void Zero(const std::filesystem::path& path) {
  WriteAll(path, std::string(std::filesystem::file_size(path), '\0'));
}

inline void Replace(const std::filesystem::path& path, const std::string& what,
                    const std::string& with) {
  std::string content = ReadAll(path);
  content.replace(content.find(what), what.size(), with);
  WriteAll(path, content);
}

}  // namespace quern::verify

#endif  // QUERN_TESTS_VERIFY_VERIFY_TESTING_H_
