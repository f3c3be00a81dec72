// Git indexes built in code, valid or not.
#ifndef QUERN_TESTS_FORMATS_GIT_GIT_INDEX_TESTING_H_
#define QUERN_TESTS_FORMATS_GIT_GIT_INDEX_TESTING_H_

#include <cstdint>
#include <string>

namespace quern::testing {

class IndexBytes {
 public:
  explicit IndexBytes(uint32_t version, uint32_t count) : version_(version) {
    bytes_ = "DIRC";
    Put32(version);
    Put32(count);
  }
  IndexBytes& Entry(const std::string& name, uint16_t flags = 0, uint16_t more = 0,
                    uint32_t mode = 0100644) {
    const size_t begin = bytes_.size();
    bytes_.append(24, '\0');
    Put32(mode);
    bytes_.append(12, '\0');
    bytes_.append(20, '\xab');
    Put16(flags);
    if ((flags & 0x4000) != 0) Put16(more);
    bytes_ += name;
    bytes_ += '\0';
    while (version_ < 4 && (bytes_.size() - begin) % 8 != 0) bytes_ += '\0';
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void Put16(uint16_t value) {
    bytes_ += static_cast<char>(value >> 8);
    bytes_ += static_cast<char>(value);
  }
  void Put32(uint32_t value) {
    Put16(static_cast<uint16_t>(value >> 16));
    Put16(static_cast<uint16_t>(value));
  }

  uint32_t version_;
  std::string bytes_;
};

// An index that replaces an entry of another one: without a name, and with the extension "link".
inline std::string SplitIndexBytes() {
  return IndexBytes(2, 1).Entry("").bytes() + std::string("TREE\0\0\0\1xlink\0\0\0\2yz", 19) +
         std::string(20, '\0');
}

}  // namespace quern::testing

#endif  // QUERN_TESTS_FORMATS_GIT_GIT_INDEX_TESTING_H_
