// A git-LFS pointer from any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/core/error.h"
#include "formats/lfs/lfs_pointer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    quern::formats::lfs::ParsePointer(text, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
