// Checks a file that an executor has written against its plan.
#ifndef QUERN_VERIFY_WRITTEN_H_
#define QUERN_VERIFY_WRITTEN_H_

#include <filesystem>

#include "converters/plan.h"

namespace quern::verify {

// Reads the file back: size, header bytes, and the structure as the GGUF reader sees it (every
// tensor of the plan at its offset with its type and shape). Throws kMismatch naming the first
// difference, or what the reader throws.
void CheckWritten(const std::filesystem::path& file, const converters::OutputModel& model,
                  const converters::WritePlan& plan);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_WRITTEN_H_
