// Any bytes as a zip archive: opened, and every member read through.
#include <algorithm>
#include <vector>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/zip/zip_archive.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const quern::testing::MemoryFile memory({data, size});
  try {
    const quern::File file = quern::File::Open(memory.path());
    const quern::formats::zip::Archive archive(file);
    std::vector<uint8_t> buffer(4096);
    for (const auto& member : archive.members()) {
      if (member.size > 1 << 20) continue;  // time, not memory
      for (uint64_t at = 0; at < member.size; at += buffer.size()) {
        archive.Read(member, at,
                     std::span(buffer).first(std::min<uint64_t>(buffer.size(), member.size - at)));
      }
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
