// Git's index.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "formats/core/byte_reader.h"
#include "formats/git/git_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::ByteReader reader({data, size}, "fuzz");
    for (const auto& entry : quern::formats::git::ParseIndex(reader)) {
      // What it promises: no name leaves the work tree.
      if (entry.path.empty() || entry.path.front() == '/' || entry.path.starts_with("../") ||
          entry.path.find("/../") != entry.path.npos || entry.path.ends_with("/..")) {
        std::abort();
      }
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
