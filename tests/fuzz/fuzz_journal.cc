// The journal of a run: any bytes give records or nothing, and what is given fits the bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "converters/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto contents = quern::converters::ParseJournal(std::span(data, size));
  if (contents && (contents->bytes > size || contents->slabs.size() * 40 > size)) std::abort();
  return 0;
}
