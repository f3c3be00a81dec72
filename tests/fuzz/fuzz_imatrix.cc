// The legacy form of importance matrices: any bytes give a matrix or a quern::Error. What was read
// can be merged with itself, and what can be written can be read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "formats/core/error.h"
#include "formats/imatrix/imatrix_writer.h"

namespace {

namespace imatrix = quern::formats::imatrix;

imatrix::Imatrix Read(std::span<const uint8_t> bytes) {
  quern::ByteReader reader(bytes, "fuzz");
  return imatrix::ReadLegacyImatrix(reader);
}

// The bytes of the matrix added twice, or none where that cannot be.
std::vector<uint8_t> Double(const imatrix::Imatrix& matrix) {
  try {
    imatrix::ImatrixSums sums;
    for (int i = 0; i < 2; ++i) imatrix::AddImatrix(matrix, "fuzz", sums);
    (void)imatrix::EncodeImatrix(sums, imatrix::ImatrixForm::kGguf);
    return imatrix::EncodeImatrix(sums, imatrix::ImatrixForm::kLegacy);
  } catch (const quern::Error&) {
    return {};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const imatrix::Imatrix matrix = Read(std::span(data, size));
    const std::vector<uint8_t> written = Double(matrix);
    if (!written.empty() && Read(written).entries.size() > matrix.entries.size()) std::abort();
  } catch (const quern::Error&) {
  }
  return 0;
}
