// A list of checksums (SHA256SUMS, checklist.chk).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "formats/checksums/checksum_list.h"
#include "formats/core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto& checksum : quern::formats::checksums::ParseChecksums(text, "fuzz")) {
      if (checksum.digest.size() != 64 && checksum.digest.size() != 32) std::abort();
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
