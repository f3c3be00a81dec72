// Where tests find data, and small helpers that every room's tests share.
#ifndef QUERN_TESTS_SUPPORT_FIXTURES_H_
#define QUERN_TESTS_SUPPORT_FIXTURES_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/error.h"

namespace quern::testing {

// testdata/NAME of this repository.
std::filesystem::path TestData(std::string_view name);

// ../shared/NAME (or $QUERN_SHARED/NAME): real files that are not part of the repository. Absent in
// a user's clone: use QUERN_SHARED_OR_SKIP in tests.
std::optional<std::filesystem::path> Shared(std::string_view name);

// Declares `variable` as ../shared/NAME, or skips the test with a message.
#define QUERN_SHARED_OR_SKIP(variable, name)                                               \
  const auto variable##_or_none = ::quern::testing::Shared(name);                          \
  if (!variable##_or_none) GTEST_SKIP() << "no shared/" << (name) << " beside this clone"; \
  const auto variable = *variable##_or_none

// The folder of llama.cpp's released libraries (npm: @node-llama-cpp/linux-x64): $QUERN_ORACLE, or
// build/npm/node_modules/... which scripts/install-oracle fills. Absent: skip.
std::optional<std::filesystem::path> OracleLibraries();

// A fresh folder, removed with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  const std::filesystem::path& path() const { return path_; }
  // Writes a file below it and returns its path.
  std::filesystem::path Write(std::string_view name, std::string_view content) const;
  std::filesystem::path Write(std::string_view name, std::span<const uint8_t> content) const;

 private:
  std::filesystem::path path_;
};

// Little-endian byte strings, for files built in code.
class Bytes {
 public:
  template <typename T>
  Bytes& Put(T value) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&value);
    data_.insert(data_.end(), raw, raw + sizeof(T));
    return *this;
  }
  Bytes& Text(std::string_view text) {
    data_.insert(data_.end(), text.begin(), text.end());
    return *this;
  }
  Bytes& Zeros(size_t count) {
    data_.resize(data_.size() + count);
    return *this;
  }
  std::vector<uint8_t>& data() { return data_; }
  operator std::span<const uint8_t>() const { return data_; }

 private:
  std::vector<uint8_t> data_;
};

// Runs `action`, which must throw quern::Error, and returns that error (a failed expectation and a
// placeholder otherwise).
Error ErrorOf(const std::function<void()>& action);

// Expects that `action` throws a quern::Error of this code.
#define EXPECT_QUERN_ERROR(action, expected_code)                                      \
  EXPECT_EQ(::quern::ErrorCodeName(::quern::testing::ErrorOf([&] { action; }).code()), \
            ::quern::ErrorCodeName(expected_code))

}  // namespace quern::testing

#endif  // QUERN_TESTS_SUPPORT_FIXTURES_H_
